//! `metal_image`: what a node runs. Its id is computed here, so that every node's change is known at plan.

pub(crate) mod schema;

use std::sync::Arc;

use talos::schematic::{self, Schematic};
use talos::version::TalosVersion;
use tfplugin::{
    Change, Context, Diagnostics, Failed, Field, Object, Path, Plan, Resource, Saved, Schema,
    async_trait,
};

use crate::api::{self, Subject};
use crate::diag;
use crate::site::{self, Site};
use schema::{Arch, Image};

pub(crate) struct Images(pub(crate) Arc<Site>);

/// Arguments that the boot itself owns (DESIGN §2.2).
const OWNED: [&str; 3] = ["talos.config", "talos.experimental.wipe", "siderolink.api"];

#[async_trait]
impl Resource for Images {
    fn type_name(&self) -> &'static str {
        "metal_image"
    }

    fn schema(&self) -> Schema {
        schema::schema()
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let image: Image = config.model();
        if let Field::Known(version) = &image.talos_version
            && let Err(why) = version.parse::<TalosVersion>()
        {
            found.push(diag::bad_version(
                Image::talos_version.into(),
                &why.to_string(),
                "v1.13.9",
            ));
        }
        for (i, arg) in (0u64..).zip(image.kernel_args.known().into_iter().flatten()) {
            let at = Path::from(Image::kernel_args).index(i);
            let key = arg.split('=').next().unwrap_or_default();
            if OWNED
                .iter()
                .any(|o| key == *o || key.starts_with(&format!("{o}.")))
            {
                found.push(diag::bad_kernel_arg(
                    at,
                    arg,
                    "the boot itself sets this argument",
                ));
            } else if arg.contains(['\n', '\r', '\0']) || arg.contains("${") {
                found.push(diag::bad_kernel_arg(
                    at,
                    arg,
                    "a newline, a NUL or `${` has no place in it",
                ));
            }
        }
    }

    async fn plan(&self, _: &Context, plan: &mut Plan, _: &mut Diagnostics) {
        let planned: Image = plan.planned();
        if let (true, Some(known)) = (plan.changes_anything(), identify(&planned)) {
            plan.set(Image::id, known.id());
            plan.set(Image::schematic_id, known.schematic.as_str());
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change).await
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        // The old version stays registered: nodes that run it still refer to it until they are upgraded.
        self.put(cx, change).await
    }

    async fn read(&self, _: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let client = self.0.client()?;
        let prior: Image = state.model();
        let id = prior.id.known().cloned().unwrap_or_default();
        site::found(
            &format!("image {id}"),
            api::read_image(&client, &id, &prior).await,
        )
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let client = self.0.client()?;
        let id = state.at(Image::id).into_known().unwrap_or_default();
        site::call(
            cx,
            &client,
            &format!("image {id}"),
            api::delete_image(&client, &id),
        )
        .await?;
        Ok(())
    }

    async fn import(&self, _: &Context, id: &str) -> Result<Saved, Failed> {
        Ok(Image {
            id: id.into(),
            ..Image::default()
        }
        .into())
    }
}

impl Images {
    async fn put(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let client = self.0.client()?;
        let mut image: Image = change.planned();
        if let (false, Some(known)) = (image.id.is_known(), identify(&image)) {
            image.id = known.id().into();
            image.schematic_id = known.schematic.as_str().into();
        }
        let id = image.id.known().cloned().unwrap_or_default();
        let what = format!("image {id}");
        image.installer = site::call(cx, &client, &what, api::put_image(&client, &image)).await?;
        if change.prior_object().is_none() {
            cx.checkpoint(image.clone());
        }
        let waited = site::wait(cx, &client, &what, Subject::ImageCached(id)).await;
        let kept = || match change.prior_object() {
            Some(prior) => prior.clone(),
            None => image.clone().into(),
        };
        waited.map_err(|d| Failed::with_state(kept(), d))?;
        Ok(image.into())
    }
}

/// The identity of what is planned; none while part of it is unknown.
fn identify(image: &Image) -> Option<schematic::Image> {
    let list = |f: &Field<Vec<String>>| match f {
        Field::Unknown => None,
        Field::Null => Some(Vec::new()),
        Field::Known(all) => Some(all.clone()),
    };
    let schematic = Schematic {
        extensions: list(&image.extensions)?,
        kernel_args: list(&image.kernel_args)?,
        ..Schematic::default()
    };
    let arch = match image.arch.known()? {
        Arch::Amd64 => schematic::Arch::Amd64,
        Arch::Arm64 => schematic::Arch::Arm64,
    };
    Some(schematic::Image {
        schematic: schematic.id(),
        version: image.talos_version.known()?.parse().ok()?,
        arch,
    })
}
