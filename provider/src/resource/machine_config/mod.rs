//! `talos_machine_config`: one node. Installs by evidence; a tainted one resumes, because deletion only unbinds.

pub(crate) mod schema;

use std::sync::Arc;
use std::time::Duration;

use tfplugin::{
    Change, Context, DefaultTimeouts, Diagnostics, Failed, Field, Object, Path, Plan, Resource,
    Saved, Schema, Value, async_trait,
};

use crate::api::{self, Subject};
use crate::client::CallError;
use crate::resource::facts;
use crate::site::{self, Site};
use crate::{diag, ids};
use schema::{MachineConfig, Node};

pub(crate) struct MachineConfigs(pub(crate) Arc<Site>);

#[async_trait]
impl Resource for MachineConfigs {
    fn type_name(&self) -> &'static str {
        "talos_machine_config"
    }

    fn schema(&self) -> Schema {
        schema::schema()
    }

    fn default_timeouts(&self) -> DefaultTimeouts {
        let long = Duration::from_secs(45 * 60);
        DefaultTimeouts {
            create: long,
            update: long,
            ..DefaultTimeouts::default()
        }
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let config: MachineConfig = config.model();
        if let Field::Known(cluster) = &config.cluster {
            facts::check(cluster, &MachineConfig::cluster.into(), found);
        }
        facts::check_patches(&config.patches, &Path::from(MachineConfig::patches), found);
    }

    async fn plan(&self, _: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let config: MachineConfig = plan.config();
        if let Some(prior) = plan.prior::<MachineConfig>() {
            self.plan_identity(plan, &prior, &config, found);
        } else if let Some(id) = node_id(&config) {
            plan.set(MachineConfig::id, id);
            plan.set(MachineConfig::node, Value::Object(node(&config).into()));
        }
        if let (Some(id), Field::Known(server)) = (node_id(&config), &config.server_id)
            && let Some(other) = self.0.memory.node(&id, server)
        {
            return found.push(diag::two_nodes(
                server,
                &format!("node {id}"),
                &format!("node {other}"),
            ));
        }
        if plan.changes_anything() {
            self.plan_change(plan, &config, found).await;
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let config: MachineConfig = change.planned();
        let mut begun = config.clone();
        begun.id = node_id(&config).into();
        begun.node = node(&config).into();
        self.put(cx, change, begun).await
    }

    async fn read(&self, _: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let client = self.0.client()?;
        let prior: MachineConfig = state.model();
        site::found(&what(&prior), api::read_node(&client, &prior).await)
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change, change.planned()).await
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let client = self.0.client()?;
        let config: MachineConfig = state.model();
        let id = config.id.known().cloned().unwrap_or_default();
        site::call(cx, &client, &what(&config), api::delete_node(&client, &id)).await?;
        site::wait(cx, &client, &what(&config), Subject::NodeRemoved(id)).await?;
        Ok(())
    }

    async fn import(&self, _: &Context, id: &str) -> Result<Saved, Failed> {
        if let Err(why) = ids::split_slot(id) {
            let refusal = crate::client::Refusal {
                reason: "bad-id".into(),
                summary: "Not an id of a node".into(),
                detail: why,
                hint: "import it as CLUSTER/NODE".into(),
                ..Default::default()
            };
            return Err(diag::refused("talos_machine_config", &refusal).into());
        }
        Ok(MachineConfig {
            id: id.into(),
            ..MachineConfig::default()
        }
        .into())
    }
}

impl MachineConfigs {
    /// A node that would belong to another cluster is another node.
    fn plan_identity(
        &self,
        plan: &mut Plan,
        prior: &MachineConfig,
        config: &MachineConfig,
        found: &mut Diagnostics,
    ) {
        let (Field::Known(before), Field::Known(after)) = (&prior.cluster, &config.cluster) else {
            return;
        };
        let moved = after
            .cluster_name()
            .is_some_and(|n| Some(n) != before.cluster_name())
            || (after.secrets_id.is_known() && after.secrets_id != before.secrets_id);
        if moved {
            plan.require_replace(MachineConfig::cluster);
        } else {
            facts::check_immutable(before, after, &MachineConfig::cluster.into(), found);
        }
    }

    /// Asks bootd what the change does, once everything that counts is known.
    async fn plan_change(&self, plan: &mut Plan, config: &MachineConfig, found: &mut Diagnostics) {
        if !Value::Object(plan.config_object().clone()).is_wholly_known() {
            return;
        }
        let (Some(server), memory) = (config.server_id.known(), &self.0.memory) else {
            return;
        };
        let (pending, claim) = (memory.is_server_pending(server), memory.claim_on(server));
        if pending && claim.is_some() {
            return;
        }
        let client = match self.0.client() {
            Ok(client) => client,
            Err(why) => return found.push(why),
        };
        if claim.is_none() {
            match api::holder(&client, server).await {
                Ok(Some(_)) => {}
                Ok(None) | Err(CallError::Gone) => {
                    return found.push(diag::needs_claim(&what(config), server));
                }
                Err(e) => return found.push(diag::call(&what(config), &e)),
            }
        }
        let secrets = config.cluster.known().and_then(|c| c.secrets_id.known());
        let contract = secrets
            .and_then(|s| memory.contract_of(s))
            .unwrap_or_default();
        match api::plan_node(&client, &what(config), config, contract, claim).await {
            Ok(planned) => {
                found.extend(planned.remarks);
                plan.set(MachineConfig::change, planned.change);
                plan.set(MachineConfig::wipe_targets, objects(planned.wipe_targets));
            }
            Err(e) => found.push(diag::call(&what(config), &e)),
        }
    }

    async fn put(
        &self,
        cx: &Context,
        change: &Change,
        mut config: MachineConfig,
    ) -> Result<Saved, Failed> {
        let client = self.0.client()?;
        let what = what(&config);
        let id = config.id.known().cloned().unwrap_or_default();
        // A plan that could not ask bootd is completed before anything is stated.
        if !config.change.is_known() || !config.wipe_targets.is_known() {
            let planned = site::call(
                cx,
                &client,
                &what,
                api::plan_node(&client, &what, &config, String::new(), None),
            )
            .await?;
            let mut refused = Diagnostics::new();
            refused.extend(planned.remarks);
            if refused.has_errors() {
                return Err(refused.into());
            }
            for warning in refused {
                cx.warn(warning);
            }
            config.change = planned.change.into();
            config.wipe_targets = planned.wipe_targets.into();
        }
        let targets = config.wipe_targets.known().cloned().unwrap_or_default();
        site::call(
            cx,
            &client,
            &what,
            api::put_node(&client, &config, &targets),
        )
        .await?;
        if change.prior_object().is_none() {
            cx.checkpoint(config.clone());
        }
        let waited = site::wait(cx, &client, &what, Subject::NodeInstalled(id)).await;
        // What an update could not reach is not in the state: the next plan tries again.
        let kept = || {
            change
                .prior_object()
                .cloned()
                .unwrap_or_else(|| config.clone().into())
        };
        waited.map_err(|d| Failed::with_state(kept(), d))?;
        if !config.address.is_known() {
            let seen = site::call(cx, &client, &what, api::read_node(&client, &config)).await;
            config.address = seen.map_err(|d| Failed::with_state(kept(), d))?.address;
        }
        Ok(config.into())
    }
}

fn objects(targets: Vec<schema::WipeTarget>) -> Value {
    Value::List(
        targets
            .into_iter()
            .map(|t| Value::Object(t.into()))
            .collect(),
    )
}

fn node_id(config: &MachineConfig) -> Option<String> {
    Some(format!(
        "{}/{}",
        config.cluster.known()?.cluster_name()?,
        config.name.known()?
    ))
}

/// Parts of it may be unknown, as the configuration is.
fn node(config: &MachineConfig) -> Node {
    Node {
        id: node_id(config).map_or(Field::Unknown, Field::Known),
        name: config.name.clone(),
        role: config.role.clone().map(|r| r.as_str().to_owned()),
        server_id: config.server_id.clone(),
    }
}

fn what(config: &MachineConfig) -> String {
    let id = node_id(config).or_else(|| config.id.known().cloned());
    format!("node {}", id.unwrap_or_default())
}
