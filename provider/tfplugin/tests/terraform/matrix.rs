//! Which engine has which feature, and what runs where.
//!
//! A story names the feature it shows. It runs on every engine that was found and has the feature. An engine that lacks the feature
//! still gets the same binary: the stories of [`Feature::Resources`] run everywhere, and [`Story::without`] shows what a user of the
//! older engine is told.

use tfplugin::kit::{Engine, Product, Version};

use crate::rig::Rig;

/// Something that a provider can offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    /// Plan, apply, refresh, replace, destroy.
    Resources,
    /// `data` blocks.
    DataSources,
    /// Checks at `validate`.
    Validation,
    /// `import` by id.
    Import,
    /// `import` blocks whose configuration is generated.
    GeneratedConfig,
    /// States of older schema versions.
    StateUpgrade,
    /// Failures keep what exists.
    Failures,
    /// Ctrl-C reaches the provider.
    Cancellation,
    /// The `timeouts` attribute.
    Timeouts,
    /// `-debug` and `TF_REATTACH_PROVIDERS`.
    Reattach,
    /// `providers schema -json`.
    SchemaOutput,
    /// `test` with `.tftest.hcl` files.
    TestFiles,
    /// `provider_meta` blocks of modules.
    ModuleMeta,
    /// `provider::toy::…` functions.
    Functions,
    /// `moved` blocks between resource types.
    MoveState,
    /// `ephemeral` blocks.
    Ephemeral,
    /// Write-only attributes.
    WriteOnly,
    /// Identity beside the state, and `import` by it.
    Identity,
    /// `list` blocks of `query`.
    ListResources,
    /// `action` blocks.
    Actions,
    /// Answers that wait for a later run: Terraform's experimental builds with `-allow-deferral`, and its Stacks, which no command runs.
    Deferral,
}

impl Feature {
    /// Every feature, in the order of the support table.
    pub(crate) const ALL: [Self; 21] = [
        Self::Resources,
        Self::DataSources,
        Self::Validation,
        Self::Import,
        Self::GeneratedConfig,
        Self::StateUpgrade,
        Self::Failures,
        Self::Cancellation,
        Self::Timeouts,
        Self::Reattach,
        Self::SchemaOutput,
        Self::TestFiles,
        Self::ModuleMeta,
        Self::Functions,
        Self::MoveState,
        Self::Ephemeral,
        Self::WriteOnly,
        Self::Identity,
        Self::ListResources,
        Self::Actions,
        Self::Deferral,
    ];

    /// The name in the support table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Resources => "resources",
            Self::DataSources => "data sources",
            Self::Validation => "validation with attribute paths",
            Self::Import => "import by id",
            Self::GeneratedConfig => "import with generated configuration",
            Self::StateUpgrade => "state upgrade",
            Self::Failures => "failures keep what exists",
            Self::Cancellation => "Ctrl-C",
            Self::Timeouts => "timeouts",
            Self::Reattach => "debug mode",
            Self::SchemaOutput => "schema as declared",
            Self::TestFiles => "test files",
            Self::ModuleMeta => "module metadata (`provider_meta`)",
            Self::Functions => "functions",
            Self::MoveState => "moves between types",
            Self::Ephemeral => "ephemeral resources",
            Self::WriteOnly => "write-only attributes",
            Self::Identity => "resource identity",
            Self::ListResources => "list resources",
            Self::Actions => "actions",
            Self::Deferral => {
                "deferral (no released command asks for it; proven over gRPC by `tests/grpc_deferral.rs`)"
            }
        }
    }

    /// The first release of Terraform and of OpenTofu that has it; none where no release has.
    fn since(self) -> [Option<Version>; 2] {
        let both = |terraform, opentofu| {
            [
                Some(Version::new(1, terraform)),
                Some(Version::new(1, opentofu)),
            ]
        };
        match self {
            Self::Resources
            | Self::DataSources
            | Self::Validation
            | Self::Import
            | Self::GeneratedConfig
            | Self::StateUpgrade
            | Self::Failures
            | Self::Cancellation
            | Self::Timeouts
            | Self::Reattach
            | Self::SchemaOutput
            | Self::TestFiles
            | Self::ModuleMeta => both(6, 6),
            Self::Functions => both(8, 7),
            Self::MoveState => both(8, 7),
            Self::Ephemeral => both(10, 11),
            Self::WriteOnly => both(11, 11),
            Self::Identity => both(12, 12),
            Self::ListResources | Self::Actions => [Some(Version::new(1, 14)), None],
            Self::Deferral => [None, None],
        }
    }

    /// Has this engine got it?
    pub(crate) fn is_in(self, engine: &Engine) -> bool {
        let [terraform, opentofu] = self.since();
        let since = match engine.product {
            Product::Terraform => terraform,
            Product::OpenTofu => opentofu,
        };
        since.is_some_and(|since| engine.version >= since)
    }
}

/// What a person does with the toy and an engine, and what must come of it.
pub(crate) struct Story {
    pub(crate) name: &'static str,
    pub(crate) feature: Feature,
    run: fn(&Rig),
    without: Option<fn(&Rig)>,
}

impl Story {
    /// A story for every engine that has the feature.
    pub(crate) const fn new(name: &'static str, feature: Feature, run: fn(&Rig)) -> Self {
        Self {
            name,
            feature,
            run,
            without: None,
        }
    }

    /// What must come of it on engines that lack the feature.
    pub(crate) const fn without(mut self, run: fn(&Rig)) -> Self {
        self.without = Some(run);
        self
    }

    /// What to run on an engine, if anything.
    pub(crate) fn on(&self, engine: &Engine) -> Option<fn(&Rig)> {
        if self.feature.is_in(engine) {
            Some(self.run)
        } else {
            self.without
        }
    }
}
