//! Clusters: stated here, bootstrapped by the Talos jobs; and the credentials that are made from their secrets.

use std::time::Duration;

use metal_proto::metal::v1 as pb;
use prost::Message as _;
use talos::secrets::{Bundle, Role};

use super::Api;
use super::nodes::protected;
use super::status::{ApiError, Story, no_such};
use super::words::{name, timestamp};
use crate::store::{Doc, Kind, StoreError, now};
use crate::talos::{
    Bootstrap, ClusterState, kubernetes_access, secrets, set_status, status, talos_access,
};

/// Longest life of a credential.
const TTL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Its life where the caller does not say.
const TTL: Duration = Duration::from_secs(24 * 3600);

impl Api {
    pub(super) async fn put_cluster(
        &self,
        config: pb::ClusterConfig,
    ) -> Result<pb::Cluster, ApiError> {
        let facts = config.facts.clone().unwrap_or_default();
        name(&facts.name, "cluster.name")?;
        secrets(&self.store, &facts.secrets_id)
            .await?
            .ok_or_else(|| no_such("secrets", &facts.secrets_id))?;
        let before = self.store.doc(Kind::Cluster, &facts.name).await?;
        let encoded = config.encode_to_vec();
        let mut state: ClusterState = before.as_ref().map(status).unwrap_or_default();
        let known = before
            .as_ref()
            .and_then(|d| pb::ClusterConfig::decode(d.config.as_slice()).ok());
        if known.is_none_or(|k| k != config) {
            state.ready = false;
        }
        state.asked_at = Some(now());
        let mut doc = Doc::new(facts.name.clone(), encoded);
        set_status(&mut doc, &state);
        self.store.put_doc(Kind::Cluster, &doc).await?;
        self.read_cluster(&facts.name).await
    }

    pub(super) async fn read_cluster(&self, id: &str) -> Result<pb::Cluster, ApiError> {
        let doc = self
            .store
            .doc(Kind::Cluster, id)
            .await?
            .ok_or_else(|| no_such("cluster", id))?;
        let config = pb::ClusterConfig::decode(doc.config.as_slice())
            .map_err(|_| StoreError::Damaged("docs"))?;
        let state: ClusterState = status(&doc);
        let secrets_id = config.facts.clone().unwrap_or_default().secrets_id;
        let ca = secrets(&self.store, &secrets_id)
            .await?
            .map(|(_, _, bundle)| bundle.os.certificate)
            .unwrap_or_default();
        let at = match state.bootstrap {
            Bootstrap::Done { at } => Some(timestamp(at)),
            Bootstrap::Never | Bootstrap::Intended { .. } => None,
        };
        Ok(pb::Cluster {
            config: Some(config),
            id: doc.name,
            bootstrapped: at.is_some(),
            ca_certificate: ca,
            bootstrapped_at: at,
        })
    }

    pub(super) async fn delete_cluster(&self, id: &str) -> Result<pb::Empty, ApiError> {
        if let Some(doc) = self.store.doc(Kind::Cluster, id).await? {
            let config = pb::ClusterConfig::decode(doc.config.as_slice())
                .map_err(|_| StoreError::Damaged("docs"))?;
            if config.deletion_protection {
                return Err(protected("cluster", id));
            }
            self.store.drop_doc(Kind::Cluster, id).await?;
        }
        Ok(pb::Empty {})
    }

    pub(super) async fn kubeconfig(
        &self,
        request: pb::CredentialRequest,
    ) -> Result<pb::CredentialResponse, ApiError> {
        let (facts, bundle) = self.access(&request.cluster).await?;
        let yaml = kubernetes_access(&bundle, &facts.name, &facts.endpoint, ttl(&request))
            .map_err(|e| cannot_sign(&request.cluster, &e))?;
        Ok(pb::CredentialResponse {
            yaml: yaml.expose().to_owned(),
        })
    }

    pub(super) async fn talosconfig(
        &self,
        request: pb::CredentialRequest,
    ) -> Result<pb::CredentialResponse, ApiError> {
        let (facts, bundle) = self.access(&request.cluster).await?;
        let roles = roles(&request.roles)?;
        let certificate = talos_access(&bundle, &roles, ttl(&request))
            .map_err(|e| cannot_sign(&request.cluster, &e))?;
        let mut endpoints = Vec::new();
        for doc in self.store.docs(Kind::Node).await? {
            if doc.name.split('/').next() == Some(&facts.name) {
                let node = self.read_node(&doc.name).await.unwrap_or_default();
                let plane = node
                    .config
                    .as_ref()
                    .is_some_and(|c| c.role() == pb::Role::Controlplane);
                if plane && !node.address.is_empty() {
                    endpoints.push(node.address);
                }
            }
        }
        Ok(pb::CredentialResponse {
            yaml: certificate
                .talosconfig(&facts.name, &endpoints, &[])
                .expose()
                .to_owned(),
        })
    }

    async fn access(&self, cluster: &str) -> Result<(pb::ClusterFacts, Bundle), ApiError> {
        let doc = self
            .store
            .doc(Kind::Cluster, cluster)
            .await?
            .ok_or_else(|| no_such("cluster", cluster))?;
        let config = pb::ClusterConfig::decode(doc.config.as_slice())
            .map_err(|_| StoreError::Damaged("docs"))?;
        let facts = config.facts.unwrap_or_default();
        let (_, _, bundle) = secrets(&self.store, &facts.secrets_id)
            .await?
            .ok_or_else(|| no_such("secrets", &facts.secrets_id))?;
        Ok((facts, bundle))
    }
}

fn ttl(request: &pb::CredentialRequest) -> Duration {
    let asked = request.ttl.and_then(|d| Duration::try_from(d).ok());
    asked.filter(|d| !d.is_zero()).unwrap_or(TTL).min(TTL_MAX)
}

fn cannot_sign(cluster: &str, error: &talos::secrets::ClientError) -> ApiError {
    Story::new("cannot-sign", "Credential could not be made")
        .detail(format!("{cluster}: {error}."))
        .hint("import the cluster's secrets again.")
        .not_now()
}

fn roles(names: &[String]) -> Result<Vec<Role>, ApiError> {
    if names.is_empty() {
        return Ok(vec![Role::Admin]);
    }
    let all = [Role::Admin, Role::Operator, Role::Reader, Role::EtcdBackup];
    names
        .iter()
        .map(|name| {
            all.into_iter().find(|r| r.as_str() == name).ok_or_else(|| {
                Story::new("bad-role", "No such Talos role")
                    .detail(format!(
                        "{name:?} is none of os:admin, os:operator, os:reader, os:etcd:backup."
                    ))
                    .hint("use one of them.")
                    .at("roles")
                    .invalid()
            })
        })
        .collect()
}
