//! The `cluster` object (hcl.md §4): the same value in every node and in the cluster.

use talos::config::Endpoint;
use talos::patch::check_patch;
use talos::version::Generator;
use tfplugin::{Diagnostics, Field, Path, choices, model};

use crate::diag;
use crate::resource::name;

choices! {
    /// The network of pods.
    pub(crate) enum Cni {
        /// Flannel.
        Flannel = "flannel",
        /// None: the user brings one.
        None = "none",
    }
}

model! {
    /// What all nodes of a cluster have in common. Write it once, as a local.
    pub(crate) struct Facts {
        /// Id of the `talos_secrets`.
        pub(crate) secrets_id: String = required(),
        /// URL of the Kubernetes API, for example `https://10.0.0.10:6443`.
        pub(crate) endpoint: String = required(),
        /// Kubernetes version, for example `v1.36.3`.
        pub(crate) kubernetes_version: String = required(),
        /// Name of the cluster, if it is not the secrets' name.
        pub(crate) name: String = optional().validate(name()),
        /// Network of pods: `flannel` where it is left out.
        pub(crate) cni: Cni = optional(),
        /// Whether kube-proxy runs.
        pub(crate) kube_proxy: bool = optional(),
        /// Networks of pods. Never changes.
        pub(crate) pod_cidrs: Vec<String> = optional(),
        /// Networks of services. Never changes.
        pub(crate) service_cidrs: Vec<String> = optional(),
        /// DNS domain of the cluster. Never changes.
        pub(crate) dns_domain: String = optional(),
        /// More names and addresses for the API servers' certificates.
        pub(crate) cert_sans: Vec<String> = optional(),
        /// Patches for all nodes, in order: strategic merge YAML.
        pub(crate) patches: Vec<String> = optional(),
    }
}

impl Facts {
    /// The cluster's name: its own or the secrets'.
    pub(crate) fn cluster_name(&self) -> Option<&String> {
        match &self.name {
            Field::Null => self.secrets_id.known(),
            Field::Unknown => None,
            Field::Known(name) => Some(name),
        }
    }
}

/// Everything that can be checked without bootd. `at` is where the object is.
pub(crate) fn check(facts: &Facts, at: &Path, found: &mut Diagnostics) {
    let at = || at.clone();
    if let Field::Known(url) = &facts.endpoint
        && let Err(why) = Endpoint::parse(url)
    {
        found.push(diag::bad_endpoint(
            at().attr(Facts::endpoint),
            &why.to_string(),
        ));
    }
    if let Field::Known(version) = &facts.kubernetes_version
        && version.parse::<talos::version::TalosVersion>().is_err()
    {
        let why = format!("{version:?} is not a version");
        found.push(diag::bad_version(
            at().attr(Facts::kubernetes_version),
            &why,
            "v1.36.3",
        ));
    }
    check_patches(&facts.patches, &at().attr(Facts::patches), found);
}

pub(crate) fn check_patches(patches: &Field<Vec<String>>, at: &Path, found: &mut Diagnostics) {
    for (i, patch) in (0u64..).zip(patches.known().into_iter().flatten()) {
        // Which generator the cluster's secrets pin is bootd's to know: what one of them takes may be right.
        let checks = Generator::ALL.map(|generator| check_patch(generator, patch));
        if let [Err(why), Err(_)] = checks {
            found.push(diag::bad_patch(at.clone().index(i), &why.to_string()));
        }
    }
}

/// What a cluster is born with stays.
pub(crate) fn check_immutable(before: &Facts, after: &Facts, at: &Path, found: &mut Diagnostics) {
    let at = |name: &str| at.clone().attr(name);
    let differ = |a: &Field<Vec<String>>, b: &Field<Vec<String>>| !b.is_unknown() && a != b;
    if differ(&before.pod_cidrs, &after.pod_cidrs) {
        found.push(diag::immutable(
            at(Facts::pod_cidrs.name()),
            "Every pod has an address out of it.",
        ));
    }
    if differ(&before.service_cidrs, &after.service_cidrs) {
        found.push(diag::immutable(
            at(Facts::service_cidrs.name()),
            "Every service has an address out of it.",
        ));
    }
    if !after.dns_domain.is_unknown() && before.dns_domain != after.dns_domain {
        found.push(diag::immutable(
            at(Facts::dns_domain.name()),
            "It is in certificates and in every pod's resolver.",
        ));
    }
}
