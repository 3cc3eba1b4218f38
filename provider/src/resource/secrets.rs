//! `talos_secrets`: a cluster's secrets, made and held by bootd, and the contract that the cluster was born with.

use std::sync::Arc;

use metal_proto::metal::v1::{self as api, Named};
use tfplugin::schema::validators;
use tfplugin::{
    Change, Context, Diagnostics, Failed, Field, Object, Plan, Resource, Saved, Schema,
    async_trait, model,
};

use crate::client::Session;
use crate::{diag, id};

/// The resource.
pub struct Secrets(pub(crate) Arc<Session>);

model! {
    /// A cluster's secrets.
    pub struct State {
        /// Name of the secrets, and their id.
        pub name: String = required().requires_replace().validate(id::name()),
        /// The Talos version at the cluster's birth. It never changes; to upgrade, edit `metal_image`.
        pub talos_version: String = required().validate(validators::text("a version such as `v1.13.9`", |t| talos_version(t).map(|_| ()))),
        /// Refuses to delete them.
        pub deletion_protection: bool = optional().default(false),
        /// Their id.
        pub id: String = computed().use_state_for_unknown(),
        /// Digest of the Talos API's CA; no secret.
        pub fingerprint: String = computed().use_state_for_unknown(),
        /// The contract of every config of this cluster.
        pub contract: String = computed().use_state_for_unknown(),
        /// Revision of the rendering.
        pub render_rev: u32 = computed().use_state_for_unknown(),
    }
}

/// Parses a Talos version.
pub(crate) fn talos_version(text: &str) -> Result<talos::version::TalosVersion, String> {
    text.parse()
        .map_err(|e: talos::version::VersionError| e.to_string())
}

#[async_trait]
impl Resource for Secrets {
    fn type_name(&self) -> &'static str {
        "talos_secrets"
    }

    fn schema(&self) -> Schema {
        Schema::of::<State>(
            "The secrets of a Talos cluster. bootd makes and keeps them sealed; none of them is ever in Terraform's state. \
             Creating is instant. Destroying keeps them in bootd for 30 days.",
        )
    }

    async fn plan(&self, _cx: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let planned: State = plan.planned();
        plan.set(State::id, planned.name.clone());
        if let (Some(prior), Some(new)) = (plan.prior::<State>(), planned.talos_version.known())
            && let Some(old) = prior.talos_version.known()
            && old != new
            && prior.name == planned.name
        {
            found.push(diag::contract_is_birth(old, new).at(State::talos_version));
        }
        if let (true, Some(name), Some(version)) = (
            plan.is_create(),
            planned.name.known(),
            planned.talos_version.known(),
        ) {
            self.0.memory().plan_secrets(name, version);
        }
    }

    async fn plan_delete(&self, _cx: &Context, state: &Object, found: &mut Diagnostics) {
        let state: State = state.model();
        if state.deletion_protection == Field::Known(true) {
            found.push(diag::protected(&format!(
                "talos_secrets {}",
                state.id.into_known().unwrap_or_default()
            )));
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let state: State = change.planned();
        let config = api::SecretsConfig {
            name: state.name.known().cloned().unwrap_or_default(),
            talos_version: state.talos_version.known().cloned().unwrap_or_default(),
            deletion_protection: state
                .deletion_protection
                .known()
                .copied()
                .unwrap_or_default(),
        };
        let made = self
            .0
            .call(cx, |mut api| {
                let config = config.clone();
                async move { api.put_secrets(config).await }
            })
            .await?;
        Ok(Saved::new(filled(state, made)))
    }

    async fn read(&self, cx: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let state: State = state.model();
        let name = state.id.known().cloned().unwrap_or_default();
        let found = self
            .0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.read_secrets(Named { name }).await }
            })
            .await?;
        Ok(found.map(|secrets| Saved::new(filled(state, secrets))))
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.create(cx, change).await
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let name = state.model::<State>().id.into_known().unwrap_or_default();
        self.0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.delete_secrets(Named { name }).await }
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
                async move { api.read_secrets(Named { name }).await }
            })
            .await?;
        let secrets = found.ok_or_else(|| diag::import_missing("secrets", id))?;
        let version = secrets.config.clone().unwrap_or_default().talos_version;
        Ok(Saved::new(filled(
            State {
                name: id.into(),
                talos_version: version.into(),
                ..State::default()
            },
            secrets,
        )))
    }
}

fn filled(state: State, secrets: api::Secrets) -> State {
    State {
        id: secrets.id.into(),
        fingerprint: secrets.fingerprint.into(),
        contract: secrets.contract.into(),
        render_rev: secrets.render_rev.into(),
        ..state
    }
}
