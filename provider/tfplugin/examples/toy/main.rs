//! A provider of files: everything that the crate does, driven by its tests and by real Terraform.
//!
//! `toy_thing` is a file of JSON below the provider's `directory`. Its `mode` makes it slow, makes it fail, or breaks a rule on purpose.

mod actions;
mod ephemeral;
mod functions;
mod marks;
mod modules;
mod racks;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tfplugin::schema::{Rule, Schema, validators};
use tfplugin::{
    About, Action, Change, Context, DataSource, Deferral, Diagnostic, Diagnostics,
    EphemeralResource, Failed, Field, Function, ListResource, Object, Path, Plan, Provider,
    Resource, Saved, SetOf, Timeouts, async_trait, choices, duration, model,
};

choices! {
    /// How a thing behaves.
    enum Mode {
        /// Does its work.
        Normal = "normal",
        /// Takes `delay`, watching for the end.
        Slow = "slow",
        /// Takes `delay` and watches nothing.
        Deaf = "deaf",
        /// Fails after it exists.
        FailLate = "fail_late",
        /// Fails before it exists.
        FailEarly = "fail_early",
        /// Panics after it exists.
        Panic = "panic",
        /// Returns another size than planned.
        Lie = "lie",
    }
}

model! {
    /// A part.
    struct Part {
        /// What it is called.
        label: String = required().validate(validators::not_empty()),
        /// How many.
        count: u16 = optional().default(1),
        /// Given by the toy where it is not set.
        color: String = optional_computed().use_state_for_unknown(),
    }
}

model! {
    /// Where it stands.
    struct Place {
        /// Row.
        row: String = optional(),
        /// Shelf.
        shelf: String = optional(),
        /// Assigned by the toy.
        tag: String = computed().use_state_for_unknown(),
    }
}

model! {
    /// An open port.
    struct Port {
        /// Number.
        number: u16 = required(),
        /// Protocol.
        protocol: String = optional().default("tcp"),
    }
}

model! {
    /// A thing.
    struct Thing {
        /// The file's name.
        id: String = computed().use_state_for_unknown(),
        /// Names the file.
        name: String = required().validate(validators::slug(20)).requires_replace(),
        /// How big it is.
        size: tfplugin::Number = optional().default(1).validate(validators::between(0, 1000)),
        /// How it behaves.
        mode: Mode = optional().default("normal").local(),
        /// How long slow operations take.
        delay: String = optional().validate(validators::positive_duration()).local(),
        /// Counts the writes.
        revision: u64 = computed(),
        /// Parts in order.
        parts: Vec<Part> = optional(),
        /// Parts by name.
        spares: BTreeMap<String, Part> = optional(),
        /// Open ports.
        ports: SetOf<Port> = optional(),
        /// Where it stands.
        place: Place = optional().rule(Rule::all_or_none_of([Place::row.name(), Place::shelf.name()])),
        /// Words to find it by.
        labels: BTreeMap<String, String> = optional(),
        /// Compared without case.
        email: String = optional().same_if(|a, b| match (a.as_str(), b.as_str()) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        }),
        /// A password that stays in the configuration.
        password_wo: String = optional().write_only().sensitive(),
        /// Raise it to hand over the password again.
        password_wo_version: i64 = optional(),
        /// The password's length, to see that it came through.
        password_length: u64 = computed().use_state_for_unknown(),
        /// How long operations may take.
        timeouts: Timeouts = optional().local(),
    }
}

type Directory = Arc<OnceLock<PathBuf>>;

struct Things(Directory);

impl Things {
    fn file(&self, id: &str) -> Result<PathBuf, Diagnostic> {
        let directory = self.0.get().ok_or_else(|| {
            Diagnostic::error("Provider not configured")
                .hint("give the provider block a directory that is known at plan")
        })?;
        Ok(directory.join(format!("{id}.json")))
    }

    fn write(&self, thing: &Thing) -> Result<(), Diagnostic> {
        let Field::Known(id) = &thing.id else {
            return Err(Diagnostic::provider_bug("no id"));
        };
        let text = |n: &Field<tfplugin::Number>| n.known().map(ToString::to_string);
        let content =
            serde_json::json!({ "size": text(&thing.size), "revision": thing.revision.known() });
        std::fs::write(self.file(id)?, content.to_string()).map_err(|e| {
            Diagnostic::error("Thing not written")
                .detail(format!("{id}: {e}."))
                .hint("look at the directory")
        })
    }

    /// What the toy decides.
    fn decide(change: &Change) -> Thing {
        let (mut thing, config): (Thing, Thing) = (change.planned(), change.config());
        let before = change
            .prior::<Thing>()
            .and_then(|t| t.revision.into_known())
            .unwrap_or(0);
        thing.id = thing
            .id
            .into_known()
            .or_else(|| thing.name.known().cloned())
            .into();
        thing.revision = (before + 1).into();
        thing.password_length = config.password_wo.known().map(|p| p.len() as u64).into();
        let paint = |part: &mut Part| {
            if part.color.is_unknown() {
                part.color = "grey".into();
            }
        };
        if let Field::Known(parts) = &mut thing.parts {
            parts.iter_mut().for_each(paint);
        }
        if let Field::Known(spares) = &mut thing.spares {
            spares.values_mut().for_each(paint);
        }
        if let Field::Known(place) = &mut thing.place
            && place.tag.is_unknown()
        {
            place.tag = format!("{}-{}", known(&place.row), known(&place.shelf)).into();
        }
        thing
    }

    async fn make(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let mut thing = Self::decide(change);
        let mode = thing.mode.known().copied().unwrap_or(Mode::Normal);
        if mode == Mode::FailEarly {
            return Err(Diagnostic::error("Thing refused")
                .detail("Nothing was made.")
                .into());
        }
        self.write(&thing)?;
        cx.checkpoint(thing.clone());
        cx.set_private("made_by", Some("toy".to_owned()));
        tracing::info!(id = known(&thing.id), "thing written");
        let delay = thing
            .delay
            .known()
            .and_then(|d| duration::parse(d).ok())
            .unwrap_or(Duration::ZERO);
        match mode {
            Mode::Slow => cx.run(tokio::time::sleep(delay)).await?,
            Mode::Deaf => tokio::time::sleep(delay).await,
            Mode::FailLate => {
                let why = Diagnostic::error("Thing half made")
                    .detail("It exists, but is not finished.")
                    .hint("apply again");
                return Err(Failed::with_state(thing, why));
            }
            Mode::Panic => panic!("the toy was told to panic"),
            Mode::Lie => thing.size = tfplugin::Number::from(999).into(),
            Mode::Normal | Mode::FailEarly => {}
        }
        Ok(thing.into())
    }
}

fn known(text: &Field<String>) -> &str {
    text.known().map_or("", String::as_str)
}

#[async_trait]
impl Resource for Things {
    fn type_name(&self) -> &'static str {
        "toy_thing"
    }

    fn schema(&self) -> Schema {
        Schema::of::<Thing>("A thing: a file of JSON.").version(1)
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let thing: Thing = config.model();
        if let (Field::Known(name), Field::Known(parts)) = (&thing.name, &thing.parts) {
            for (i, part) in (0..)
                .zip(parts)
                .filter(|(_, p)| p.label.known() == Some(name))
            {
                found.push(
                    Diagnostic::error("Part named like its thing")
                        .detail(format!(
                            "Part {i} of {name} is called {}.",
                            known(&part.label)
                        ))
                        .hint("choose another label")
                        .at(Path::from(Thing::parts).index(i).attr(Part::label)),
                );
            }
        }
    }

    async fn plan(&self, _: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let config: Thing = plan.config();
        if let (true, Field::Known(name)) = (plan.is_create(), config.name) {
            plan.set(Thing::id, name);
        }
        if plan.changes(Thing::password_wo_version) {
            plan.set_unknown(Thing::password_length);
        }
        if config.size.known() == Some(&tfplugin::Number::from(13)) {
            found.push(
                Diagnostic::warning("Unlucky size")
                    .detail("13 is unlucky.")
                    .hint("take 12")
                    .at(Thing::size),
            );
        }
    }

    async fn plan_delete(&self, _: &Context, state: &Object, found: &mut Diagnostics) {
        if state
            .model::<Thing>()
            .name
            .known()
            .is_some_and(|n| n.starts_with("keep"))
        {
            found.push(
                Diagnostic::error("Thing is kept")
                    .detail("Its name starts with keep.")
                    .hint("rename it first"),
            );
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.make(cx, change).await
    }

    async fn read(&self, _: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let mut thing: Thing = state.model();
        let Ok(text) = std::fs::read_to_string(self.file(known(&thing.id))?) else {
            return Ok(None);
        };
        let content: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        thing.name = thing.id.clone();
        thing.size = content["size"].as_str().and_then(|t| t.parse().ok()).into();
        thing.revision = content["revision"].as_u64().into();
        Ok(Some(thing.into()))
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.make(cx, change).await
    }

    async fn delete(&self, _: &Context, state: &Object) -> Result<(), Failed> {
        let id = state.at(Thing::id);
        match std::fs::remove_file(self.file(known(&id))?) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Diagnostic::error("Thing not deleted")
                    .detail(format!("{}: {e}.", known(&id)))
                    .into())
            }
            _ => Ok(()),
        }
    }

    async fn import(&self, _: &Context, id: &str) -> Result<Saved, Failed> {
        if !self.file(id)?.exists() {
            return Err(Diagnostic::error("No such thing")
                .detail(format!("There is no file for {id}."))
                .into());
        }
        Ok(Thing {
            id: id.into(),
            ..Thing::default()
        }
        .into())
    }

    fn upgrade(
        &self,
        from_version: i64,
        mut state: serde_json::Value,
    ) -> Result<serde_json::Value, Diagnostic> {
        // Version 0 called the name "title".
        if from_version == 0 {
            state["name"] = state["title"].take();
        }
        Ok(state)
    }
}

model! {
    /// Things by label.
    struct Find {
        /// Beginning of the names.
        prefix: String = optional().default(""),
        /// What was found.
        ids: Vec<String> = computed(),
    }
}

struct FindThings(Directory);

#[async_trait]
impl DataSource for FindThings {
    fn type_name(&self) -> &'static str {
        "toy_things"
    }

    fn schema(&self) -> Schema {
        Schema::of::<Find>("Finds things.")
    }

    async fn read(&self, cx: &Context, config: &Object) -> Result<Saved, Failed> {
        let find: Find = config.model();
        modules::note(cx, &self.0);
        let directory = self
            .0
            .get()
            .into_iter()
            .flat_map(std::fs::read_dir)
            .flatten()
            .flatten();
        let names = directory
            .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".json")?.to_owned()));
        let mut ids: Vec<_> = names
            .filter(|n| n.starts_with(known(&find.prefix)))
            .collect();
        ids.sort();
        Ok(Find {
            ids: ids.into(),
            ..Find::default()
        }
        .into())
    }
}

model! {
    struct Config {
        /// Where things are.
        directory: String = optional(),
    }
}

#[derive(Default)]
pub(crate) struct Toy(Directory, ephemeral::Office);

#[async_trait]
impl Provider for Toy {
    fn schema(&self) -> Schema {
        Schema::of::<Config>("Toys.")
    }

    fn meta(&self) -> Option<Schema> {
        Some(Schema::of::<modules::Module>("Who uses toys."))
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        vec![
            Arc::new(Things(Arc::clone(&self.0))),
            Arc::new(marks::Marks(Arc::clone(&self.0))),
            Arc::new(racks::Racks(Arc::clone(&self.0))),
        ]
    }

    fn lists(&self) -> Vec<Arc<dyn ListResource>> {
        vec![Arc::new(marks::Marks(Arc::clone(&self.0)))]
    }

    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        vec![Arc::new(FindThings(Arc::clone(&self.0)))]
    }

    fn functions(&self) -> Vec<Arc<dyn Function>> {
        functions::all()
    }

    fn ephemerals(&self) -> Vec<Arc<dyn EphemeralResource>> {
        vec![Arc::new(ephemeral::Tickets(Arc::clone(&self.1)))]
    }

    fn actions(&self) -> Vec<Arc<dyn Action>> {
        vec![Arc::new(actions::Stamps(Arc::clone(&self.0)))]
    }

    async fn configure(&self, cx: &Context, config: &Object, _: &mut Diagnostics) {
        match config.at(Config::directory) {
            Field::Known(directory) => {
                self.1.configure(PathBuf::from(&directory));
                self.0.get_or_init(|| directory.into());
            }
            // A host that cannot wait is told so by the first resource that needs the directory.
            Field::Unknown => drop(cx.defer(Deferral::ProviderConfigUnknown)),
            Field::Null => {}
        }
    }
}

fn main() -> ExitCode {
    tfplugin::serve(
        About::new("example.com/test/toy").log_targets(&["toy"]),
        Toy::default(),
    )
}
