//! The provider block, and what the provider offers.
//!
//! Promises: configuring dials nothing; what is unknown at plan is no error until something needs bootd; the environment is an argument.

use std::sync::Arc;

use tfplugin::schema::Rule;
use tfplugin::{
    Context, DataSource, Diagnostics, Field, Object, Path, Provider, Resource, Schema, async_trait,
    model,
};

use crate::client::{Bundle, Client};
use crate::diag;
use crate::resource::{claim, class, cluster, image, machine_config, secrets, server, servers};
use crate::site::{Bootd, Site};

model! {
    /// The provider block.
    pub struct Block {
        /// Path of the bundle that `bootd init` wrote. Environment: `METAL_BUNDLE_FILE`.
        pub(crate) bundle_file: String = optional(),
        /// The bundle's text itself. Environment: `METAL_BUNDLE`.
        pub(crate) bundle: String = optional().sensitive(),
    }
}

/// What the environment says where the block says nothing.
#[derive(Clone, Default)]
pub struct Environment {
    /// `METAL_BUNDLE`.
    pub bundle: Option<String>,
    /// `METAL_BUNDLE_FILE`.
    pub bundle_file: Option<String>,
}

impl Environment {
    /// Of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let set = |key| std::env::var(key).ok().filter(|v| !v.is_empty());
        Self {
            bundle: set("METAL_BUNDLE"),
            bundle_file: set("METAL_BUNDLE_FILE"),
        }
    }
}

/// The provider.
pub struct Metal {
    site: Arc<Site>,
    environment: Environment,
}

impl Metal {
    /// A provider that is not configured yet.
    #[must_use]
    pub fn new(environment: Environment) -> Self {
        Self {
            site: Site::shared(),
            environment,
        }
    }
}

/// Where the bundle is.
enum Source {
    Text(String, &'static str, Option<Path>),
    File(String),
}

#[async_trait]
impl Provider for Metal {
    fn schema(&self) -> Schema {
        Schema::of::<Block>(
            "Bare metal servers and Talos Linux clusters on them, through one bootd per site.\n\n\
             Nothing is dialled before a resource needs it; `terraform validate` never needs bootd. \
             Before the first call provider and bootd exchange their versions; a bootd that does not fit is an error that names both. \
             Blocks named `talos_*` carry `provider = metal`: Terraform derives the provider from the prefix otherwise, \
             and fails to find `hashicorp/talos`.",
        )
        .rule(Rule::at_most_one_of([Block::bundle_file.name(), Block::bundle.name()]))
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        let site = || Arc::clone(&self.site);
        vec![
            Arc::new(server::Servers(site())),
            Arc::new(class::Classes(site())),
            Arc::new(claim::Claims(site())),
            Arc::new(image::Images(site())),
            Arc::new(secrets::SecretsRoom(site())),
            Arc::new(machine_config::MachineConfigs(site())),
            Arc::new(cluster::Clusters(site())),
        ]
    }

    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        vec![Arc::new(servers::ServersData(Arc::clone(&self.site)))]
    }

    async fn configure(&self, _: &Context, config: &Object, found: &mut Diagnostics) {
        let block: Block = config.model();
        if block.bundle.is_unknown() || block.bundle_file.is_unknown() {
            return self.site.configure(Bootd::Unknown);
        }
        let environment = self.environment.clone();
        let source = match (block.bundle, block.bundle_file) {
            (Field::Known(text), _) => Source::Text(text, "`bundle`", Some(Block::bundle.into())),
            (_, Field::Known(file)) => Source::File(file),
            _ => match (environment.bundle, environment.bundle_file) {
                (Some(text), _) => Source::Text(text, "METAL_BUNDLE", None),
                (None, Some(file)) => Source::File(file),
                (None, None) => return self.site.configure(Bootd::Absent),
            },
        };
        let (text, from, at) = match source {
            Source::Text(text, from, at) => (text, from.to_owned(), at),
            Source::File(file) => match tokio::fs::read_to_string(&file).await {
                Ok(text) => (text, file, Some(Block::bundle_file.into())),
                Err(why) => return found.push(diag::bundle_unreadable(&file, &why)),
            },
        };
        match Bundle::parse(&text).and_then(|b| Client::new(&b)) {
            Ok(client) => self.site.configure(Bootd::Known(client)),
            Err(why) => found.push(diag::bundle_invalid(&from, at, why)),
        }
    }
}
