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
    /// Verification of images' signatures.
    ImageVerifier,
    /// Writing the node's META partition.
    MetaWriter,
    /// Acting for others: what proxies need.
    Impersonator,
}

impl Role {
    /// As it stands in certificates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "os:admin",
            Self::Operator => "os:operator",
            Self::Reader => "os:reader",
            Self::EtcdBackup => "os:etcd:backup",
            Self::ImageVerifier => "os:image:verifier",
            Self::MetaWriter => "os:meta:writer",
            Self::Impersonator => "os:impersonator",
        }
    }

    /// Reads a role as it stands in certificates, with or without `os:`.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Admin,
            Self::Operator,
            Self::Reader,
            Self::EtcdBackup,
            Self::ImageVerifier,
            Self::MetaWriter,
            Self::Impersonator,
        ];
        let bare = text.strip_prefix("os:").unwrap_or(text);
        all.into_iter()
            .find(|r| r.as_str().strip_prefix("os:") == Some(bare))
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
    /// A certificate without a role opens nothing.
    #[error("a client certificate needs at least one role, like os:reader")]
    NoRoles,
    /// It would be invalid from the start.
    #[error("the lifetime of a certificate must be longer than nothing")]
    NoLifetime,
    /// No server takes a certificate that outlives its authority.
    #[error(
        "the {what} authority ends at {ends}, before the certificate would; ask for a shorter lifetime"
    )]
    Outlives {
        /// Which authority.
        what: &'static str,
        /// When it ends.
        ends: Timestamp,
    },
}

/// Who a kubeconfig is for.
#[derive(Clone, Copy, Debug)]
pub struct KubernetesUser<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The groups; `system:masters` may do everything.
    pub groups: &'a [&'a str],
    /// How long.
    pub lifetime: Duration,
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
        if roles.is_empty() {
            return Err(ClientError::NoRoles);
        }
        let mut names: Vec<&str> = roles.iter().map(|r| r.as_str()).collect();
        names.sort_unstable();
        names.dedup();
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
        let user = KubernetesUser {
            name: "admin",
            groups: &["system:masters"],
            lifetime: KUBERNETES_LIFETIME,
        };
        self.kubeconfig(cluster, endpoint, &user, now, entropy)
    }

    /// A kubeconfig for a user whose certificate the Kubernetes authority signs.
    ///
    /// # Errors
    /// The Kubernetes authority cannot sign, or not for so long.
    pub fn kubeconfig(
        &self,
        cluster: &str,
        endpoint: &str,
        user: &KubernetesUser<'_>,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Secret, ClientError> {
        let name = Name {
            organizations: user.groups,
            common_name: Some(user.name),
        };
        let validity = Validity {
            from: now.saturating_sub(KUBERNETES_SKEW).unwrap_or(now),
            until: later(now, user.lifetime),
        };
        let certificate = issue(
            (&self.kubernetes, "Kubernetes"),
            &name,
            Usage::SignatureAndEncipherment,
            &validity,
            entropy,
        )?;
        Ok(Secret::new(kubeconfig(
            cluster,
            endpoint,
            user.name,
            &certificate,
        )))
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
    if validity.until <= validity.from {
        return Err(ClientError::NoLifetime);
    }
    let ends = issuer.ends();
    if validity.until > ends {
        return Err(ClientError::Outlives { what, ends });
    }
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
fn kubeconfig(cluster: &str, endpoint: &str, user: &str, admin: &ClientCertificate) -> String {
    let quote = |text: &str| crate::yaml::quote_key(text, Style::V1_13);
    let user = quote(&format!("{user}@{cluster}"));
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
