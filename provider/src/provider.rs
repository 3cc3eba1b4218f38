//! The provider block, and the list of what this provider has.

use std::sync::Arc;

use tfplugin::{
    Context, DataSource, Diagnostics, Object, Provider, Resource, Schema, async_trait, model,
};

use crate::client::{Bundle, Session};
use crate::{data, diag, resource};

model! {
    /// The provider block.
    pub struct Settings {
        /// Path of the `admin.bundle` that `bootd init` wrote. Environment: `METAL_BUNDLE_FILE`.
        pub bundle_file: String = optional(),
        /// The bundle itself, in place of its file. Environment: `METAL_BUNDLE`.
        pub bundle: String = optional().sensitive(),
    }
}

/// The provider `metal`.
#[derive(Default)]
pub struct Metal {
    session: Arc<Session>,
}

#[async_trait]
impl Provider for Metal {
    fn schema(&self) -> Schema {
        Schema::of::<Settings>("Bare metal servers, and Talos Linux clusters on them. Blocks of the types `talos_*` carry `provider = metal`.")
            .rule(tfplugin::schema::Rule::at_most_one_of([Settings::bundle_file.name(), Settings::bundle.name()]))
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        resource::all(&self.session)
    }

    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        data::all(&self.session)
    }

    async fn configure(&self, _cx: &Context, config: &Object, _found: &mut Diagnostics) {
        self.session.configure(bundle(&config.model()));
    }
}

/// The configuration wins over the environment. A missing bundle is said when a resource needs it, not before.
fn bundle(settings: &Settings) -> Result<Bundle, tfplugin::Diagnostic> {
    let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let (text, file) = match (settings.bundle.known(), settings.bundle_file.known()) {
        (Some(text), _) => (Some(text.clone()), None),
        (None, Some(file)) => (None, Some(file.clone())),
        (None, None) => (env("METAL_BUNDLE"), env("METAL_BUNDLE_FILE")),
    };
    match (text, file) {
        (Some(text), _) => Bundle::parse(&text),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(&file)
                .map_err(|e| diag::bundle_unreadable(&file, &e.to_string()))?;
            Bundle::parse(&text)
        }
        (None, None) => Err(diag::no_bundle()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_schema_holds_a_mistake() {
        let metal = Metal::default();
        let mut schemas = vec![metal.schema()];
        schemas.extend(metal.resources().iter().map(|r| r.schema()));
        schemas.extend(metal.data_sources().iter().map(|d| d.schema()));
        for schema in schemas {
            assert_eq!(schema.mistakes(), []);
        }
    }
}
