//! `metal_image`: what machines boot and install. Its id is computed here, so that a plan shows every node's change.

use std::sync::Arc;
use std::time::Duration;

use metal_proto::metal::v1::watch_request::Subject;
use metal_proto::metal::v1::{self as api, Named};
use talos::schematic::{Arch as TalosArch, Image as TalosImage, Schematic};
use tfplugin::schema::validators;
use tfplugin::{
    Change, Context, DefaultTimeouts, Diagnostics, Failed, Field, Object, Plan, Resource, Saved,
    Schema, Timeouts, async_trait, model,
};

use crate::client::Session;
use crate::resource::class::Arch;
use crate::resource::secrets::talos_version;
use crate::{diag, id};

/// The host part of installer references.
const REGISTRY: &str = "factory.talos.dev";

/// The resource.
pub struct Image(pub(crate) Arc<Session>);

model! {
    /// An image.
    pub struct State {
        /// A name for people.
        pub name: String = optional().validate(id::name()),
        /// Talos's version. Editing it upgrades the nodes that use the image.
        pub talos_version: String = required().validate(validators::text("a version such as `v1.13.9`", |t| talos_version(t).map(|_| ()))),
        /// Official system extensions, such as `siderolabs/iscsi-tools`.
        pub extensions: Vec<String> = optional(),
        /// Further kernel arguments of the image.
        pub kernel_args: Vec<String> = optional(),
        /// Processor architecture.
        pub arch: Arch = optional().default("amd64"),
        /// `SCHEMATIC/VERSION/ARCH`.
        pub id: String = computed(),
        /// The schematic's id.
        pub schematic_id: String = computed(),
        /// Reference of the installer image.
        pub installer: String = computed(),
        /// How long operations may take.
        pub timeouts: Timeouts = optional().local(),
    }
}

#[async_trait]
impl Resource for Image {
    fn type_name(&self) -> &'static str {
        "metal_image"
    }

    fn schema(&self) -> Schema {
        Schema::of::<State>(
            "A Talos image: version, extensions and kernel arguments. Creating it waits until bootd has fetched and pinned its files. \
             Destroying it drops the reference only.",
        )
    }

    fn default_timeouts(&self) -> DefaultTimeouts {
        let long = Duration::from_secs(15 * 60);
        DefaultTimeouts {
            create: long,
            update: long,
            ..DefaultTimeouts::default()
        }
    }

    async fn plan(&self, _cx: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let planned: State = plan.planned();
        let unknown = [
            planned.talos_version.is_unknown(),
            planned.extensions.is_unknown(),
            planned.kernel_args.is_unknown(),
            planned.arch.is_unknown(),
        ];
        if unknown.contains(&true) {
            return;
        }
        match image(&planned) {
            Ok(image) => {
                plan.set(State::id, image.id());
                plan.set(State::schematic_id, image.schematic.as_str());
                plan.set(State::installer, image.installer(REGISTRY));
            }
            Err(why) => found.push(diag::bad_version(&why).at(State::talos_version)),
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let state: State = change.planned();
        let config = config(&state);
        let made = self
            .0
            .call(cx, |mut api| {
                let config = config.clone();
                async move { api.put_image(config).await }
            })
            .await?;
        let id = made.id.clone();
        let state = filled(state, made);
        cx.checkpoint(state.clone());
        let waited = self
            .0
            .watch(
                cx,
                Subject::ImageCached(id.clone()),
                &format!("The download of {id}"),
            )
            .await;
        waited.map_err(|why| Failed::with_state(state.clone(), why))?;
        Ok(Saved::new(state))
    }

    async fn read(&self, cx: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let state: State = state.model();
        let name = state.id.known().cloned().unwrap_or_default();
        let found = self
            .0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.read_image(Named { name }).await }
            })
            .await?;
        Ok(found.map(|_| Saved::new(state)))
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.create(cx, change).await
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let name = state.model::<State>().id.into_known().unwrap_or_default();
        self.0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.delete_image(Named { name }).await }
            })
            .await?;
        Ok(())
    }

    async fn import(&self, cx: &Context, id: &str) -> Result<Saved, Failed> {
        let name = id.to_owned();
        let found = self
            .0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.read_image(Named { name }).await }
            })
            .await?;
        let image = found.ok_or_else(|| diag::import_missing("image", id))?;
        let config = image.config.clone().unwrap_or_default();
        let list = |items: Vec<String>| {
            if items.is_empty() {
                Field::Null
            } else {
                Field::Known(items)
            }
        };
        let state = State {
            talos_version: config.talos_version.into(),
            extensions: list(config.extensions),
            kernel_args: list(config.kernel_args),
            arch: if config.arch == Arch::Arm64.as_str() {
                Arch::Arm64.into()
            } else {
                Arch::Amd64.into()
            },
            ..State::default()
        };
        Ok(Saved::new(filled(state, image)))
    }
}

fn filled(state: State, image: api::Image) -> State {
    State {
        id: image.id.into(),
        schematic_id: image.schematic_id.into(),
        installer: image.installer.into(),
        ..state
    }
}

fn image(state: &State) -> Result<TalosImage, String> {
    let schematic = Schematic {
        kernel_args: state.kernel_args.known().cloned().unwrap_or_default(),
        extensions: state.extensions.known().cloned().unwrap_or_default(),
        ..Schematic::default()
    };
    Ok(TalosImage {
        schematic: schematic.id(),
        version: talos_version(state.talos_version.known().map_or("", String::as_str))?,
        arch: match state.arch.known() {
            Some(Arch::Arm64) => TalosArch::Arm64,
            Some(Arch::Amd64) | None => TalosArch::Amd64,
        },
    })
}

fn config(state: &State) -> api::ImageConfig {
    api::ImageConfig {
        name: state.name.known().cloned().unwrap_or_default(),
        talos_version: state.talos_version.known().cloned().unwrap_or_default(),
        extensions: state.extensions.known().cloned().unwrap_or_default(),
        kernel_args: state.kernel_args.known().cloned().unwrap_or_default(),
        arch: state
            .arch
            .known()
            .map_or("amd64", |a| a.as_str())
            .to_owned(),
    }
}
