//! `toy_ticket`: a file that lives as long as the run. What happens to it is written to `tickets.log` beside it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tfplugin::ephemeral::{EphemeralLimits, EphemeralTimeouts};
use tfplugin::schema::{Schema, validators};
use tfplugin::{
    Context, Diagnostic, Diagnostics, EphemeralResource, Field, Object, OnDemand, Opened, Renewed,
    async_trait, choices, duration, model,
};

choices! {
    /// How a ticket behaves.
    enum Mode {
        /// Does its work.
        Normal = "normal",
        /// Takes a minute to open, watching for the end.
        Slow = "slow",
        /// Fails once the file exists.
        FailLate = "fail_late",
        /// Panics once the file exists.
        Panic = "panic",
        /// Returns another name than asked for.
        Lie = "lie",
        /// Cannot be renewed.
        FailRenew = "fail_renew",
        /// Cannot be closed.
        FailClose = "fail_close",
    }
}

model! {
    /// A ticket.
    struct Ticket {
        /// Names the file.
        name: String = required().validate(validators::slug(20)),
        /// Length of the token.
        length: u8 = optional().default(8).validate(validators::between(4, 64)),
        /// Renewed this often.
        renew_every: String = optional().validate(validators::positive_duration()),
        /// How it behaves.
        mode: Mode = optional().default("normal"),
        /// What the ticket is good for.
        token: String = computed().sensitive(),
        /// How long each step may take.
        timeouts: EphemeralTimeouts = optional(),
    }
}

/// Where tickets are written: looked at when the first one is, never while configuring.
pub(crate) type Office = Arc<OnDemand<PathBuf, PathBuf>>;

pub(crate) struct Tickets(pub(crate) Office);

const NAME: &str = "name";
const RENEW_EVERY: &str = "renew_every";
const MODE: &str = "mode";

impl Tickets {
    async fn office(&self, cx: &Context) -> Result<PathBuf, Diagnostic> {
        let ready = self.0.ready(cx, |directory| async move {
            match tokio::fs::metadata(&directory).await {
                Ok(found) if found.is_dir() => Ok(directory),
                Ok(_) => Err(Diagnostic::error("Ticket office is a file")),
                Err(e) => Err(Diagnostic::error("No ticket office").detail(e.to_string())),
            }
        });
        ready.await
    }
}

fn log(office: &Path, what: &str, name: &str) -> Result<(), Diagnostic> {
    let file = office.join("tickets.log");
    let opened = OpenOptions::new().create(true).append(true).open(file);
    opened
        .and_then(|mut f| writeln!(f, "{what} {name}"))
        .map_err(|e| Diagnostic::error("Ticket not logged").detail(e.to_string()))
}

fn file(office: &Path, name: &str) -> PathBuf {
    office.join(format!("{name}.ticket"))
}

fn next(cx: &Context, now: SystemTime) -> Option<SystemTime> {
    let every = duration::parse(&cx.private(RENEW_EVERY)?).ok()?;
    Some(now + every)
}

#[async_trait]
impl EphemeralResource for Tickets {
    fn type_name(&self) -> &'static str {
        "toy_ticket"
    }

    fn schema(&self) -> Schema {
        Schema::of::<Ticket>("A ticket for one run.")
    }

    fn default_timeouts(&self) -> EphemeralLimits {
        EphemeralLimits {
            close: Duration::from_secs(10),
            ..EphemeralLimits::default()
        }
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        if config.at(Ticket::name) == Field::from("nobody") {
            found.push(
                Diagnostic::error("Ticket for nobody")
                    .hint("name somebody")
                    .at(Ticket::name),
            );
        }
    }

    async fn open(
        &self,
        cx: &Context,
        config: &Object,
        now: SystemTime,
    ) -> Result<Opened, Diagnostics> {
        let mut ticket: Ticket = config.model();
        let (Field::Known(name), Field::Known(length)) = (&ticket.name, &ticket.length) else {
            return Err(Diagnostic::provider_bug("no name").into());
        };
        let token = "t".repeat((*length).into());
        let office = self.office(cx).await?;
        std::fs::write(file(&office, name), &token)
            .map_err(|e| Diagnostic::error("Ticket not written").detail(e.to_string()))?;
        log(&office, "open", name)?;
        let mode = ticket.mode.known().copied().unwrap_or(Mode::Normal);
        cx.set_private(NAME, Some(name.clone()));
        cx.set_private(RENEW_EVERY, ticket.renew_every.known().cloned());
        cx.set_private(MODE, Some(mode.as_str().to_owned()));
        ticket.token = token.into();
        match mode {
            Mode::Slow => {
                tracing::info!("slow open begun");
                cx.run(tokio::time::sleep(Duration::from_secs(60))).await?;
            }
            Mode::FailLate => return Err(Diagnostic::error("Ticket half made").into()),
            Mode::Panic => panic!("the toy was told to panic"),
            Mode::Lie => ticket.name = "another".into(),
            Mode::Normal | Mode::FailRenew | Mode::FailClose => {}
        }
        let opened = Opened::new(ticket);
        Ok(match next(cx, now) {
            Some(at) => opened.renew_at(at),
            None => opened,
        })
    }

    async fn renew(&self, cx: &Context, now: SystemTime) -> Result<Renewed, Diagnostics> {
        let name = cx.private(NAME).unwrap_or_default();
        log(&self.office(cx).await?, "renew", &name)?;
        if cx.private(MODE).as_deref() == Some(Mode::FailRenew.as_str()) {
            return Err(Diagnostic::error("Ticket not renewed").into());
        }
        Ok(next(cx, now).map_or_else(Renewed::for_good, Renewed::until))
    }

    async fn close(&self, cx: &Context) -> Result<(), Diagnostics> {
        let name = cx.private(NAME).unwrap_or_default();
        if cx.private(MODE).as_deref() == Some(Mode::FailClose.as_str()) {
            return Err(Diagnostic::error("Ticket not closed").into());
        }
        // Watches for the end as a real one would: it must not see the stop of the run.
        cx.run(tokio::task::yield_now()).await?;
        let office = self.office(cx).await?;
        // Gone already is as good.
        let _ = std::fs::remove_file(file(&office, &name));
        log(&office, "close", &name)?;
        Ok(())
    }
}
