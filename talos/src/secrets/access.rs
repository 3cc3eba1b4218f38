//! Access to a cluster, made from its secrets when it is needed: client certificates of the Talos API, talosconfig
//! files, and the administrator's kubeconfig.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::key::SigningKey;
use super::x509::{Issuer, Name, Usage, Validity, client};
use super::{Authority, Bundle, Entropy, Secret, later, serial};
use crate::yaml::{Node, Style, emit};

/// What a client of the Talos API may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Reboots, services, no secrets.
    Operator,
    /// Reading, no secrets.
    Reader,
    /// Snapshots of etcd.
    EtcdBackup,
}

impl Role {
    /// As it stands in certificates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "os:admin",
            Self::Operator => "os:operator",
            Self::Reader => "os:reader",
            Self::EtcdBackup => "os:etcd:backup",
        }
    }
}

/// A client certificate and its key, as PEM text, and the authority that signed it.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The authority's certificate, against which the server is checked too.
    pub ca: String,
    /// The certificate.
    pub certificate: String,
    /// Its key, labelled as Talos does (`ED25519 PRIVATE KEY`).
    pub key: Secret,
}

/// No certificate can be made from this bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The authority's key or certificate is not one that signs.
    #[error(
        "the {0} authority of the secrets has a key or certificate that cannot sign; import it again"
    )]
    Authority(&'static str),
}

/// A little earlier than now, for clocks that are behind.
const KUBERNETES_SKEW: Duration = Duration::from_secs(10);
const KUBERNETES_LIFETIME: Duration = Duration::from_hours(8760);

impl Bundle {
    /// A client certificate of the Talos API: the roles in one RDN, and exactly the purpose that apid asks for.
    ///
    /// # Errors
    /// The OS authority cannot sign.
    pub fn client_certificate(
        &self,
        roles: &[Role],
        lifetime: Duration,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<ClientCertificate, ClientError> {
        let names: Vec<&str> = roles.iter().map(|r| r.as_str()).collect();
        let name = Name {
            organizations: &names,
            common_name: None,
        };
        let validity = Validity {
            from: now,
            until: later(now, lifetime),
        };
        issue(
            (&self.os, "OS"),
            &name,
            Usage::DigitalSignature,
            &validity,
            entropy,
        )
    }

    /// The administrator's kubeconfig: a year of `system:masters`.
    ///
    /// # Errors
    /// The Kubernetes authority cannot sign.
    pub fn admin_kubeconfig(
        &self,
        cluster: &str,
        endpoint: &str,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Secret, ClientError> {
        self.admin_kubeconfig_for(cluster, endpoint, KUBERNETES_LIFETIME, now, entropy)
    }

    /// [`Self::admin_kubeconfig`] for `lifetime` from now on.
    ///
    /// # Errors
    /// The Kubernetes authority cannot sign.
    pub fn admin_kubeconfig_for(
        &self,
        cluster: &str,
        endpoint: &str,
        lifetime: Duration,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Secret, ClientError> {
        let name = Name {
            organizations: &["system:masters"],
            common_name: Some("admin"),
        };
        let validity = Validity {
            from: now.saturating_sub(KUBERNETES_SKEW).unwrap_or(now),
            until: later(now, lifetime),
        };
        let admin = issue(
            (&self.kubernetes, "Kubernetes"),
            &name,
            Usage::SignatureAndEncipherment,
            &validity,
            entropy,
        )?;
        Ok(Secret::new(kubeconfig(cluster, endpoint, &admin)))
    }
}

fn issue(
    (authority, what): (&Authority, &'static str),
    name: &Name<'_>,
    usage: Usage,
    validity: &Validity,
    entropy: &mut dyn Entropy,
) -> Result<ClientCertificate, ClientError> {
    let broken = || ClientError::Authority(what);
    let signer = SigningKey::from_pem(authority.key.expose()).ok_or_else(broken)?;
    let issuer = Issuer::new(&authority.certificate, &signer).ok_or_else(broken)?;
    let key = signer.sibling(entropy);
    Ok(ClientCertificate {
        ca: authority.certificate.clone(),
        certificate: client(&issuer, &key, name, usage, validity, serial(entropy)),
        key: key.to_pem(),
    })
}

impl ClientCertificate {
    /// A talosconfig file with this one context.
    pub fn talosconfig(&self, context: &str, endpoints: &[String], nodes: &[String]) -> Secret {
        let mut entries = vec![("endpoints", Node::texts(endpoints))];
        if !nodes.is_empty() {
            entries.push(("nodes", Node::texts(nodes)));
        }
        entries.push(("ca", Node::text(STANDARD.encode(&self.ca))));
        entries.push(("crt", Node::text(STANDARD.encode(&self.certificate))));
        entries.push(("key", Node::text(STANDARD.encode(self.key.expose()))));
        let root = Node::map([
            ("context", Node::text(context)),
            ("contexts", Node::map([(context, Node::map(entries))])),
        ]);
        Secret::new(emit(&root, Style::V1_13))
    }
}

/// Kubernetes' own layout: sorted keys, two spaces, lists not indented.
fn kubeconfig(cluster: &str, endpoint: &str, admin: &ClientCertificate) -> String {
    let quote = |text: &str| crate::yaml::quote_key(text, Style::V1_13);
    let user = quote(&format!("admin@{cluster}"));
    let (cluster, endpoint) = (quote(cluster), quote(endpoint));
    let ca = STANDARD.encode(&admin.ca);
    let certificate = STANDARD.encode(&admin.certificate);
    let key = STANDARD.encode(admin.key.expose());
    format!(
        "apiVersion: v1\n\
         clusters:\n\
         - cluster:\n    certificate-authority-data: {ca}\n    server: {endpoint}\n  name: {cluster}\n\
         contexts:\n\
         - context:\n    cluster: {cluster}\n    namespace: default\n    user: {user}\n  name: {user}\n\
         current-context: {user}\n\
         kind: Config\n\
         users:\n\
         - name: {user}\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n"
    )
}
