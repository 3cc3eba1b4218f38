//! `talos_cluster`: the sink of the graph. Nothing left of it reads it.

pub(crate) mod schema;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tfplugin::{
    Change, Context, DefaultTimeouts, Diagnostics, Failed, Field, Object, Path, Plan, Resource,
    Saved, Schema, async_trait,
};

use crate::api::{self, Subject};
use crate::diag;
use crate::resource::facts;
use crate::site::{self, Site};
use schema::{Cluster, Level, Member, Role};

pub(crate) struct Clusters(pub(crate) Arc<Site>);

#[async_trait]
impl Resource for Clusters {
    fn type_name(&self) -> &'static str {
        "talos_cluster"
    }

    fn schema(&self) -> Schema {
        schema::schema()
    }

    fn default_timeouts(&self) -> DefaultTimeouts {
        let long = Duration::from_secs(30 * 60);
        DefaultTimeouts {
            create: long,
            update: long,
            ..DefaultTimeouts::default()
        }
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let cluster: Cluster = config.model();
        if let Field::Known(facts) = &cluster.cluster {
            facts::check(facts, &Cluster::cluster.into(), found);
        }
        if let Some(level @ (Level::Api | Level::NodesReady)) = level(&cluster) {
            found.push(diag::wait_level_later(level.as_str()));
        }
        check_nodes(&cluster, found);
    }

    async fn plan(&self, _: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let cluster: Cluster = plan.planned();
        // Validation ran before the nodes were known.
        check_nodes(&cluster, found);
        let Some(prior) = plan.prior::<Cluster>() else {
            return;
        };
        let (Field::Known(before), Field::Known(after)) = (&prior.cluster, &cluster.cluster) else {
            return;
        };
        if after
            .cluster_name()
            .is_some_and(|n| Some(n) != before.cluster_name())
        {
            plan.require_replace(Cluster::cluster);
        } else {
            facts::check_immutable(before, after, &Cluster::cluster.into(), found);
        }
    }

    async fn plan_delete(&self, _: &Context, state: &Object, found: &mut Diagnostics) {
        let cluster: Cluster = state.model();
        if cluster.deletion_protection == Field::Known(true) {
            found.push(diag::protected(&what(&cluster)));
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
        let prior: Cluster = state.model();
        site::found(&what(&prior), api::read_cluster(&client, &prior).await)
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let client = self.0.client()?;
        let cluster: Cluster = state.model();
        let id = cluster.id.known().cloned().unwrap_or_default();
        site::call(
            cx,
            &client,
            &what(&cluster),
            api::delete_cluster(&client, &id),
        )
        .await?;
        Ok(())
    }

    async fn import(&self, _: &Context, id: &str) -> Result<Saved, Failed> {
        Ok(Cluster {
            id: id.into(),
            ..Cluster::default()
        }
        .into())
    }
}

impl Clusters {
    async fn put(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let client = self.0.client()?;
        let mut cluster: Cluster = change.planned();
        let id = name(&cluster);
        let what = format!("cluster {id}");
        let made = site::call(cx, &client, &what, api::put_cluster(&client, &cluster)).await?;
        cluster.id = id.clone().into();
        if !made.is_null() {
            cluster.ca_certificate = made;
        }
        if change.prior_object().is_none() {
            cx.checkpoint(cluster.clone());
        }
        let waited = site::wait(cx, &client, &what, Subject::ClusterReady(id)).await;
        let kept = |c: &Cluster| {
            change
                .prior_object()
                .cloned()
                .unwrap_or_else(|| c.clone().into())
        };
        waited.map_err(|d| Failed::with_state(kept(&cluster), d))?;
        if !cluster.ca_certificate.is_known() {
            let seen = site::call(cx, &client, &what, api::read_cluster(&client, &cluster)).await;
            cluster.ca_certificate = seen
                .map_err(|d| Failed::with_state(kept(&cluster), d))?
                .ca_certificate;
        }
        Ok(cluster.into())
    }
}

fn level(cluster: &Cluster) -> Option<Level> {
    cluster.wait_for.known()?.kubernetes.known().copied()
}

/// Quorum, duplicates, strangers. What is unknown waits for the next look.
fn check_nodes(cluster: &Cluster, found: &mut Diagnostics) {
    let Field::Known(nodes) = &cluster.nodes else {
        return;
    };
    let name = cluster.cluster.known().and_then(|c| c.cluster_name());
    let mut seen: [BTreeMap<&String, &String>; 2] = Default::default();
    for (key, node) in nodes {
        let at = || Path::from(Cluster::nodes).key(key);
        let fields = [
            ("node id", &node.id, Member::id.name()),
            ("server", &node.server_id, Member::server_id.name()),
        ];
        for ((what, field, attribute), seen) in fields.into_iter().zip(&mut seen) {
            if let Field::Known(value) = field
                && let Some(other) = seen.insert(value, key)
            {
                found.push(diag::duplicate_node(
                    at().attr(attribute),
                    what,
                    value,
                    other,
                ));
            }
        }
        if let (Some(name), Field::Known(id)) = (name, &node.id)
            && id.split('/').next() != Some(name)
        {
            found.push(diag::foreign_node(at().attr(Member::id), id, name));
        }
    }
    if nodes.values().any(|n| n.role.is_unknown()) {
        return;
    }
    let control_planes = nodes
        .values()
        .filter(|n| n.role == Field::Known(Role::ControlPlane))
        .count();
    match (control_planes, &cluster.allow_even) {
        (0, _) => found.push(diag::no_control_plane()),
        (n, Field::Null | Field::Known(false)) if n % 2 == 0 => {
            found.push(diag::even_control_planes(n))
        }
        _ => {}
    }
}

fn name(cluster: &Cluster) -> String {
    let facts = cluster.cluster.known();
    facts
        .and_then(|f| f.cluster_name())
        .or(cluster.id.known())
        .cloned()
        .unwrap_or_default()
}

fn what(cluster: &Cluster) -> String {
    format!("cluster {}", name(cluster))
}
