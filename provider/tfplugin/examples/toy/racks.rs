//! `toy_rack`: nested blocks as older schemas have them, and a plan that changes no more than it must.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tfplugin::schema::{Rule, Schema, same, validators};
use tfplugin::{
    Change, Context, Diagnostic, Failed, Field, Object, Resource, Saved, SetOf, Value, async_trait,
    model,
};

use super::{Directory, known};

model! {
    /// What lies on a shelf.
    struct Item {
        /// What it is called.
        label: String = required().validate(validators::length(1, 12)),
        /// How much it holds.
        size: String = optional().validate(validators::size()).same_if(same::size),
        /// How many.
        count: u16 = optional().default(1),
    }
}

model! {
    /// A shelf.
    struct Shelf {
        /// What it is called.
        name: String = required(),
        /// Deep, in centimetres.
        depth: u16 = optional().default(30).validate(validators::between(10, 90)),
        /// Given by the toy.
        code: String = computed().use_state_for_unknown(),
        /// Opens it; stays in the configuration.
        key_wo: String = optional().write_only().sensitive(),
        /// What lies on it.
        item: SetOf<Item> = block().max_items(3).validate(validators::unique_by([Item::label.name()])),
    }
}

model! {
    /// Where it stands.
    struct Stand {
        /// Row.
        row: String = required().requires_replace(),
        /// The network there.
        net: String = optional().validate(validators::cidr()).same_if(same::cidr),
        /// Given by the toy.
        tag: String = computed().depends_on([Stand::row.name()]),
    }
}

model! {
    /// A rack.
    struct Rack {
        /// Names the file.
        name: String = required()
            .validate(validators::matches("^[a-z][a-z-]*$", "lower-case letters and hyphens"))
            .requires_replace(),
        /// How high; a rack grows in place and never shrinks.
        height: u16 = optional().default(1).requires_replace_if(shrinks),
        /// How long it is kept.
        keep: String = optional().validate(validators::positive_duration()).same_if(same::duration),
        /// Its settings.
        settings: String = optional().validate(validators::yaml()).same_if(same::yaml),
        /// Networks.
        nets: BTreeSet<String> = optional().validate(validators::each(validators::cidr())).same_if(same::cidr),
        /// Opens to the front.
        front: String = optional(),
        /// Opens to the back.
        back: String = optional(),
        /// Paint; needs a front.
        paint: String = optional(),
        /// Room for so many shelves.
        room: u64 = computed().depends_on([Rack::height.name()]),
        /// Follows from the room.
        label: String = computed().depends_on([Rack::room.name()]),
        /// Counts the writes.
        writes: u64 = computed(),
        /// Where it stands.
        stand: Stand = block().min_items(1),
        /// Its shelves.
        shelf: Vec<Shelf> = block().min_items(1).max_items(3),
    }
}

fn shrinks(before: &Value, planned: &Value) -> bool {
    match (before.as_number(), planned.as_number()) {
        (Some(before), Some(planned)) => planned < before,
        _ => false,
    }
}

pub(crate) struct Racks(pub(crate) Directory);

impl Racks {
    fn file(&self, name: &str) -> Result<PathBuf, Diagnostic> {
        let directory = self.0.get().ok_or_else(|| {
            Diagnostic::error("Provider not configured")
                .hint("give the provider block a directory that is known at plan")
        })?;
        Ok(directory.join(format!("{name}.rack")))
    }

    fn write(&self, change: &Change) -> Result<Saved, Failed> {
        let (mut rack, before): (Rack, Option<Rack>) = (change.planned(), change.prior());
        let config: Rack = change.config();
        let height = rack.height.known().copied().unwrap_or(1);
        rack.room = (u64::from(height) * 2).into();
        rack.label = format!("room for {}", u64::from(height) * 2).into();
        let writes = before.and_then(|b| b.writes.into_known()).unwrap_or(0);
        rack.writes = (writes + 1).into();
        if let Field::Known(stand) = &mut rack.stand {
            stand.tag = format!("row {}", known(&stand.row)).into();
        }
        let keys = config.shelf.into_known().unwrap_or_default();
        if let Field::Known(shelves) = &mut rack.shelf {
            for (shelf, declared) in shelves.iter_mut().zip(keys) {
                if shelf.code.is_unknown() {
                    let key = known(&declared.key_wo).len();
                    shelf.code = format!("{}-{key}", known(&shelf.name)).into();
                }
            }
        }
        std::fs::write(self.file(known(&rack.name))?, height.to_string()).map_err(|e| {
            Diagnostic::error("Rack not written")
                .detail(format!("{}: {e}.", known(&rack.name)))
                .hint("look at the directory")
        })?;
        Ok(rack.into())
    }
}

#[async_trait]
impl Resource for Racks {
    fn type_name(&self) -> &'static str {
        "toy_rack"
    }

    fn schema(&self) -> Schema {
        Schema::of::<Rack>("A rack.")
            .rule(Rule::exactly_one_of([
                Rack::front.name(),
                Rack::back.name(),
            ]))
            .rule(Rule::required_with(
                Rack::paint.name(),
                [Rack::front.name()],
            ))
    }

    async fn create(&self, _: &Context, change: &Change) -> Result<Saved, Failed> {
        self.write(change)
    }

    async fn update(&self, _: &Context, change: &Change) -> Result<Saved, Failed> {
        self.write(change)
    }

    async fn read(&self, _: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let mut rack: Rack = state.model();
        let Ok(height) = std::fs::read_to_string(self.file(known(&rack.name))?) else {
            return Ok(None);
        };
        rack.height = height.parse().ok().into();
        Ok(Some(rack.into()))
    }

    async fn delete(&self, _: &Context, state: &Object) -> Result<(), Failed> {
        let rack: Rack = state.model();
        // Gone already is gone.
        let _ = std::fs::remove_file(self.file(known(&rack.name))?);
        Ok(())
    }

    /// Knows the name only: everything else is the person's to declare.
    async fn import(&self, _: &Context, id: &str) -> Result<Saved, Failed> {
        Ok(Rack {
            name: id.into(),
            front: "door".into(),
            back: "wall".into(),
            stand: Stand {
                row: "r".into(),
                ..Stand::default()
            }
            .into(),
            shelf: vec![Shelf {
                name: "top".into(),
                depth: 30.into(),
                ..Shelf::default()
            }]
            .into(),
            ..Rack::default()
        }
        .into())
    }
}
