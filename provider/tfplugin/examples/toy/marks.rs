//! `toy_mark`: a file of text in a drawer. It has an identity, can be listed, takes older states and those of `toy_thing`, and waits for
//! what is not there yet.

use std::path::PathBuf;

use tfplugin::schema::{Schema, same, validators};
use tfplugin::{
    Change, Context, Deferral, Diagnostic, Diagnostics, Failed, Field, IdentitySchema, ListRequest,
    ListResource, Listed, Listing, Move, Object, Plan, Resource, Saved, Upgrade, async_trait,
    model,
};

use super::{Directory, known, modules};

/// The drawer of things: a mark in it is the file of a `toy_thing`.
const THINGS: &str = "thing";
/// The drawer where nobody says another.
const MAIN: &str = "main";

model! {
    /// A mark.
    struct Mark {
        /// Names the file.
        name: String = required().validate(validators::slug(20)).requires_replace(),
        /// Where the file is.
        drawer: String = optional().default(MAIN).validate(validators::slug(20)).requires_replace(),
        /// What it says; JSON is compared as such.
        text: String = optional().default("").same_if(same::json),
        /// How long the text is.
        length: u64 = computed().depends_on([Mark::text.name()]),
        /// A mark that must be there first.
        waits_for: String = optional().local(),
    }
}

model! {
    /// What a mark is.
    struct Which {
        /// Names the file.
        name: String = required(),
        /// Where the file is; `main` where it is left out.
        drawer: String = optional(),
    }
}

model! {
    /// Version 0: the name was a title.
    struct MarkV0 {
        /// Names the file.
        title: String = required(),
        /// What it says.
        text: String = optional(),
    }
}

model! {
    /// Version 1: there was one drawer.
    struct MarkV1 {
        /// Names the file.
        name: String = required(),
        /// What it says.
        text: String = optional(),
    }
}

model! {
    /// Version 0 of the identity.
    struct WhichV0 {
        /// Names the file.
        title: String = required(),
    }
}

model! {
    /// What matters of a `toy_thing`.
    struct OldThing {
        /// The file's name.
        id: String = required(),
    }
}

#[derive(Clone)]
pub(crate) struct Marks(pub(crate) Directory);

impl Marks {
    fn file(&self, drawer: &str, name: &str) -> Result<PathBuf, Diagnostic> {
        let directory = self.0.get().ok_or_else(|| {
            Diagnostic::error("Provider not configured")
                .hint("give the provider block a directory that is known at plan")
        })?;
        Ok(directory.join(match drawer {
            THINGS => format!("{name}.json"),
            drawer => format!("{drawer}.{name}.mark"),
        }))
    }

    fn write(&self, change: &Change) -> Result<Saved, Failed> {
        let mut mark: Mark = change.planned();
        let file = self.file(known(&mark.drawer), known(&mark.name))?;
        std::fs::write(&file, known(&mark.text)).map_err(|e| {
            Diagnostic::error("Mark not written")
                .detail(format!("{}: {e}.", known(&mark.name)))
                .hint("look at the directory")
        })?;
        mark.length = (known(&mark.text).len() as u64).into();
        Ok(mark.into())
    }

    /// The mark of a file. One that says `-> other` has been taken for another mark.
    fn look(&self, mut mark: Mark) -> Result<Option<Mark>, Diagnostic> {
        let file = self.file(known(&mark.drawer), known(&mark.name))?;
        let Ok(text) = std::fs::read_to_string(file) else {
            return Ok(None);
        };
        if let Some(other) = text.strip_prefix("-> ") {
            mark.name = other.into();
        }
        mark.length = (text.len() as u64).into();
        mark.text = text.into();
        Ok(Some(mark))
    }
}

#[async_trait]
impl Resource for Marks {
    fn type_name(&self) -> &'static str {
        "toy_mark"
    }

    fn schema(&self) -> Schema {
        Schema::of::<Mark>("A mark in a drawer.").version(2)
    }

    fn identity(&self) -> Option<IdentitySchema> {
        Some(IdentitySchema::of::<Which>().version(1))
    }

    fn identity_upgrades(&self) -> Vec<Upgrade> {
        vec![Upgrade::new(0, 1, |old: WhichV0| {
            Ok(Which {
                name: old.title,
                drawer: MAIN.into(),
            })
        })]
    }

    fn upgrades(&self) -> Vec<Upgrade> {
        vec![
            Upgrade::new(0, 1, |old: MarkV0| {
                Ok(MarkV1 {
                    name: old.title,
                    text: old.text,
                })
            }),
            Upgrade::new(1, 2, |old: MarkV1| {
                let length = old.text.known().map(|t| t.len() as u64).into();
                Ok(Mark {
                    name: old.name,
                    text: old.text,
                    drawer: MAIN.into(),
                    length,
                    ..Mark::default()
                })
            }),
        ]
    }

    fn moves(&self) -> Vec<Move> {
        let thing = Move::from("toy_thing", |old: OldThing| {
            Ok(Mark {
                name: old.id,
                drawer: THINGS.into(),
                ..Mark::default()
            })
        });
        vec![thing.of_provider("test/toy").versions(1..=1)]
    }

    async fn plan(&self, cx: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let mark: Mark = plan.planned();
        modules::note(cx, &self.0);
        if let Field::Known(wanted) = mark.waits_for
            && let Ok(file) = self.file(MAIN, &wanted)
            && !file.exists()
        {
            found.extend(cx.defer(Deferral::AbsentPrerequisite).err());
        }
        if mark.text.is_unknown() && mark.name.known().is_some_and(|n| n.starts_with("patient")) {
            found.extend(cx.defer(Deferral::ResourceConfigUnknown).err());
        }
        if let Field::Known(text) = mark.text
            && plan.changes(Mark::text)
        {
            plan.set(Mark::length, text.len());
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        modules::note(cx, &self.0);
        self.write(change)
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        modules::note(cx, &self.0);
        self.write(change)
    }

    async fn read(&self, cx: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let mark: Mark = state.model();
        modules::note(cx, &self.0);
        if known(&mark.drawer) == "later" && cx.defer(Deferral::AbsentPrerequisite).is_ok() {
            return Ok(Some(mark.into()));
        }
        Ok(self.look(mark)?.map(Saved::from))
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let mark: Mark = state.model();
        modules::note(cx, &self.0);
        match std::fs::remove_file(self.file(known(&mark.drawer), known(&mark.name))?) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Diagnostic::error("Mark not deleted")
                    .detail(format!("{}: {e}.", known(&mark.name)))
                    .into())
            }
            _ => Ok(()),
        }
    }

    async fn import(&self, cx: &Context, id: &str) -> Result<Saved, Failed> {
        let (drawer, name) = id.split_once('/').unwrap_or((MAIN, id));
        let which = Which {
            name: name.into(),
            drawer: drawer.into(),
        };
        self.import_by_identity(cx, &which.into()).await
    }

    async fn import_by_identity(&self, _: &Context, identity: &Object) -> Result<Saved, Failed> {
        let which: Which = identity.model();
        let drawer = which.drawer.into_known().unwrap_or_else(|| MAIN.to_owned());
        let name = known(&which.name).to_owned();
        if !self.file(&drawer, &name)?.exists() {
            return Err(Diagnostic::error("No such mark")
                .detail(format!("There is no file for {name} in {drawer}."))
                .hint("look into the drawer")
                .into());
        }
        Ok(Mark {
            name: name.into(),
            drawer: drawer.into(),
            ..Mark::default()
        }
        .into())
    }
}

model! {
    /// Which marks to list.
    struct Search {
        /// Where to look.
        drawer: String = optional().default(MAIN).validate(validators::slug(20)),
        /// Beginning of the names.
        prefix: String = optional(),
    }
}

#[async_trait]
impl ListResource for Marks {
    fn type_name(&self) -> &'static str {
        "toy_mark"
    }

    fn schema(&self) -> Schema {
        Schema::of::<Search>("Lists marks by drawer.")
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        if config.at(Search::drawer) == Field::from(THINGS) {
            found.push(
                Diagnostic::error("Things are no marks")
                    .detail("The drawer of things is not listed.")
                    .hint("use the data source toy_things")
                    .at(Search::drawer),
            );
        }
    }

    async fn list(
        &self,
        _: &Context,
        request: &ListRequest,
        found: &Listing,
    ) -> Result<(), Diagnostics> {
        let search: Search = request.config();
        let drawer = known(&search.drawer);
        if drawer == "locked" {
            return Err(Diagnostic::error("Drawer locked")
                .detail("Nobody has the key.")
                .hint("look into another drawer")
                .into());
        }
        let directory = self.0.get().into_iter().flat_map(std::fs::read_dir);
        let files = directory.flatten().flatten();
        let mut names: Vec<_> = files
            .filter_map(|f| {
                let name = f.file_name().into_string().ok()?;
                let name = name.strip_suffix(".mark")?;
                Some(name.strip_prefix(&format!("{drawer}."))?.to_owned())
            })
            .filter(|n| n.starts_with(known(&search.prefix)))
            .collect();
        names.sort();
        for name in names {
            if name == "panic" {
                panic!("the toy was told to panic");
            }
            let which = Which {
                name: name.as_str().into(),
                drawer: drawer.into(),
            };
            let mut one = Listed::new(which).named(format!("{name} in {drawer}"));
            if name.starts_with("odd") {
                one =
                    one.warn(Diagnostic::warning("Odd mark").detail(format!("{name} looks odd.")));
            }
            if found.push(one).await.is_break() {
                tracing::info!(name, "nobody wants more marks");
                break;
            }
        }
        Ok(())
    }
}
