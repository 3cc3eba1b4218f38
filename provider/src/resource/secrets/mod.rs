//! `talos_secrets`: made and kept by bootd; nothing of them is ever here but a fingerprint.

pub(crate) mod schema;

use std::sync::Arc;

use talos::version::{Contract, Generator};
use tfplugin::{
    Change, Context, Diagnostics, Failed, Field, Object, Plan, Resource, Saved, Schema, async_trait,
};

use crate::api;
use crate::diag;
use crate::site::{self, Site};
use schema::Secrets;

/// The newest generator reads every contract; which one writes a cluster's configs, its secrets pin.
const NEWEST: Generator = Generator::V1_14;

pub(crate) struct SecretsRoom(pub(crate) Arc<Site>);

#[async_trait]
impl Resource for SecretsRoom {
    fn type_name(&self) -> &'static str {
        "talos_secrets"
    }

    fn schema(&self) -> Schema {
        schema::schema()
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        if let Field::Known(version) = config.at(Secrets::talos_version)
            && let Err(why) = Contract::parse(&version, NEWEST)
        {
            found.push(diag::bad_version(
                Secrets::talos_version.into(),
                &why.to_string(),
                "v1.13.9",
            ));
        }
    }

    async fn plan(&self, _: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let config: Secrets = plan.config();
        let (Field::Known(name), version) = (&config.name, &config.talos_version) else {
            return;
        };
        let prior: Option<Secrets> = plan.prior();
        if let (Some(prior), Field::Known(version)) = (&prior, version)
            && let Field::Known(born) = &prior.talos_version
            && born != version
            && prior.name == config.name
        {
            found.push(diag::secrets_version_change(name, born, version));
        }
        let contract = version
            .known()
            .and_then(|v| Contract::parse(v, NEWEST).ok());
        if let (true, Some(contract)) = (plan.is_create(), contract) {
            plan.set(Secrets::id, name.clone());
            plan.set(Secrets::contract, contract.to_string());
            self.0.memory.secrets(name, &contract.to_string());
        }
    }

    async fn plan_delete(&self, _: &Context, state: &Object, found: &mut Diagnostics) {
        let secrets: Secrets = state.model();
        if secrets.deletion_protection == Field::Known(true) {
            found.push(diag::protected(&what(&secrets)));
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change).await
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change).await
    }

    async fn read(&self, _: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let client = self.0.client()?;
        let prior: Secrets = state.model();
        site::found(&what(&prior), api::read_secrets(&client, &prior).await)
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let client = self.0.client()?;
        let secrets: Secrets = state.model();
        site::call(
            cx,
            &client,
            &what(&secrets),
            api::delete_secrets(&client, &secrets),
        )
        .await?;
        Ok(())
    }

    async fn import(&self, _: &Context, id: &str) -> Result<Saved, Failed> {
        Ok(Secrets {
            id: id.into(),
            name: id.into(),
            ..Secrets::default()
        }
        .into())
    }
}

impl SecretsRoom {
    async fn put(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let client = self.0.client()?;
        let secrets: Secrets = change.planned();
        let made = site::call(
            cx,
            &client,
            &what(&secrets),
            api::put_secrets(&client, &secrets),
        )
        .await?;
        Ok(made.into())
    }
}

fn what(secrets: &Secrets) -> String {
    format!(
        "secrets {}",
        secrets.name.known().map_or("", String::as_str)
    )
}
