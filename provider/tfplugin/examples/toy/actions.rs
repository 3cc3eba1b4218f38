//! `toy_stamp`: stamps a file, in steps that it tells of.

use std::time::Duration;

use tfplugin::action::ActionTimeouts;
use tfplugin::schema::{Schema, validators};
use tfplugin::{
    Action, Context, Diagnostic, Diagnostics, Field, Object, Progress, async_trait, choices, model,
};

use super::Directory;

choices! {
    /// How stamping goes.
    enum Mode {
        /// Well.
        Normal = "normal",
        /// With a warning.
        Warn = "warn",
        /// It fails after the first step.
        Fail = "fail",
        /// It panics after the first step.
        Panic = "panic",
        /// It takes a minute after the first step, watching for the end.
        Slow = "slow",
        /// It takes a minute after the first step and watches nothing.
        Deaf = "deaf",
    }
}

model! {
    /// A stamp.
    struct Stamp {
        /// Names the file.
        name: String = required().validate(validators::slug(20)),
        /// How many steps it takes.
        steps: u8 = optional().default(2).validate(validators::between(1, 100)),
        /// How it goes.
        mode: Mode = optional().default("normal"),
        /// What opens the inkpot; kept nowhere.
        key_wo: String = optional().write_only(),
        /// How long it may take.
        timeouts: ActionTimeouts = optional(),
    }
}

pub(crate) struct Stamps(pub(crate) Directory);

#[async_trait]
impl Action for Stamps {
    fn type_name(&self) -> &'static str {
        "toy_stamp"
    }

    fn schema(&self) -> Schema {
        Schema::of::<Stamp>("Stamps a file.")
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        if config.at(Stamp::name) == Field::from("nobody") {
            found.push(
                Diagnostic::error("Stamp for nobody")
                    .hint("name somebody")
                    .at(Stamp::name),
            );
        }
    }

    async fn plan(&self, _: &Context, config: &Object, found: &mut Diagnostics) {
        if config.at(Stamp::name) == Field::from("unstampable") {
            found.push(
                Diagnostic::error("Cannot be stamped")
                    .detail("It would not work.")
                    .at(Stamp::name),
            );
        }
    }

    async fn invoke(
        &self,
        cx: &Context,
        config: &Object,
        progress: &Progress,
    ) -> Result<Diagnostics, Diagnostics> {
        let stamp: Stamp = config.model();
        let (Field::Known(name), Field::Known(steps)) = (&stamp.name, &stamp.steps) else {
            return Err(Diagnostic::provider_bug("no name").into());
        };
        let mode = stamp.mode.known().copied().unwrap_or(Mode::Normal);
        let minute = Duration::from_secs(60);
        for step in 1..=*steps {
            progress.say(format!("step {step} of {steps}")).await;
            match mode {
                Mode::Normal | Mode::Warn => {}
                Mode::Fail => return Err(Diagnostic::error("Stamp broke").at(Stamp::mode).into()),
                Mode::Panic => panic!("the toy was told to panic"),
                Mode::Slow => {
                    tracing::info!("slow action begun");
                    let slept = cx.run(tokio::time::sleep(minute)).await;
                    if slept.is_err() {
                        // Its last word, for the test to see that it had one.
                        self.write(&format!("{name}.stopped"), "")?;
                    }
                    slept?;
                }
                Mode::Deaf => tokio::time::sleep(minute).await,
            }
        }
        let key = stamp.key_wo.known().map_or(0, String::len);
        self.write(&format!("{name}.stamp"), &key.to_string())?;
        let mut warnings = Diagnostics::new();
        if mode == Mode::Warn {
            warnings.push(Diagnostic::warning("Ink is low").hint("buy ink"));
        }
        Ok(warnings)
    }
}

impl Stamps {
    fn write(&self, file: &str, text: &str) -> Result<(), Diagnostic> {
        let directory = self.0.get().ok_or_else(|| {
            Diagnostic::error("Provider not configured")
                .hint("give the provider block a directory that is known at plan")
        })?;
        std::fs::write(directory.join(file), text)
            .map_err(|e| Diagnostic::error("Not stamped").detail(e.to_string()))
    }
}
