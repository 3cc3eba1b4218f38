//! The `cluster` object: the same value in every node and in the cluster.

use metal_proto::metal::v1 as api;
use talos::config::Endpoint;
use tfplugin::schema::validators;
use tfplugin::{Field, choices, model};

use crate::id;

model! {
    /// Facts of a cluster; the same object in every node and in the cluster.
    pub struct Facts {
        /// Id of the `talos_secrets`.
        pub secrets_id: String = required(),
        /// URL of the Kubernetes API: `https://ADDRESS:6443`.
        pub endpoint: String = required().validate(validators::text("a URL such as `https://10.0.0.10:6443`", endpoint)),
        /// Kubernetes' version.
        pub kubernetes_version: String = required().validate(validators::text("a version such as `v1.36.3`", version)),
        /// The cluster's name. Default: the secrets' name.
        pub name: String = optional().validate(id::name()),
        /// The network plugin. Default: flannel.
        pub cni: Cni = optional(),
        /// Whether kube-proxy runs. Default: it does.
        pub kube_proxy: bool = optional(),
        /// Pod networks.
        pub pod_cidrs: Vec<String> = optional(),
        /// Service networks.
        pub service_cidrs: Vec<String> = optional(),
        /// DNS domain.
        pub dns_domain: String = optional(),
        /// Further names of the APIs' certificates.
        pub cert_sans: Vec<String> = optional(),
        /// Strategic-merge patches for every node, in order.
        pub patches: Vec<String> = optional(),
    }
}

choices! {
    /// Network plugin.
    pub enum Cni {
        /// Talos's default.
        Flannel = "flannel",
        /// None: something else brings one.
        None = "none",
    }
}

fn endpoint(text: &str) -> Result<(), String> {
    if !text.starts_with("https://") {
        return Err(format!("`{text}` does not start with https://"));
    }
    let parsed = Endpoint::parse(text).map_err(|e| e.to_string())?;
    if parsed.host().is_empty() {
        Err(format!("`{text}` has no host"))
    } else {
        Ok(())
    }
}

fn version(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text
        .strip_prefix('v')
        .unwrap_or(text)
        .splitn(3, '.')
        .collect();
    let number = |part: &&str| {
        part.split('-')
            .next()
            .is_some_and(|n| n.parse::<u32>().is_ok())
    };
    if parts.len() == 3 && parts.iter().all(number) {
        Ok(())
    } else {
        Err(format!("`{text}` is none"))
    }
}

impl Facts {
    /// The cluster's name, as far as it is known.
    pub fn cluster_name(&self) -> Field<String> {
        if self.name.is_null() {
            self.secrets_id.clone()
        } else {
            self.name.clone()
        }
    }

    /// As bootd takes it.
    pub fn config(&self) -> api::ClusterFacts {
        let text = |field: &Field<String>| field.known().cloned().unwrap_or_default();
        let list = |field: &Field<Vec<String>>| field.known().cloned().unwrap_or_default();
        api::ClusterFacts {
            name: self.cluster_name().into_known().unwrap_or_default(),
            secrets_id: text(&self.secrets_id),
            endpoint: text(&self.endpoint),
            kubernetes_version: text(&self.kubernetes_version),
            cni: self.cni.known().map_or("", |c| c.as_str()).to_owned(),
            kube_proxy: self.kube_proxy.known().copied(),
            pod_cidrs: list(&self.pod_cidrs),
            service_cidrs: list(&self.service_cidrs),
            dns_domain: text(&self.dns_domain),
            cert_sans: list(&self.cert_sans),
            patches: list(&self.patches),
        }
    }
}
