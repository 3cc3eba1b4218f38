//! Where the machinery's words name its own fields: the way down to a free-form value that cannot be merged.

use crate::yaml::{Kind, Node, Value};

/// The fields on the way to each free-form value: the last keys of its path, and what the machinery calls them.
const FIELDS: [(&[&str], &[&str]); 14] = [
    (
        &["machine", "kubelet", "extraConfig"],
        &[
            "v1alpha1.Config.MachineConfig",
            "v1alpha1.MachineConfig.MachineKubelet",
            "v1alpha1.KubeletConfig.KubeletExtraConfig",
        ],
    ),
    (
        &["machine", "kubelet", "credentialProviderConfig"],
        &[
            "v1alpha1.Config.MachineConfig",
            "v1alpha1.MachineConfig.MachineKubelet",
            "v1alpha1.KubeletConfig.KubeletCredentialProviderConfig",
        ],
    ),
    (
        &["machine", "baseRuntimeSpecOverrides"],
        &[
            "v1alpha1.Config.MachineConfig",
            "v1alpha1.MachineConfig.MachineBaseRuntimeSpecOverrides",
        ],
    ),
    (
        &["cluster", "scheduler", "config"],
        &[
            "v1alpha1.Config.ClusterConfig",
            "v1alpha1.ClusterConfig.SchedulerConfig",
            "v1alpha1.SchedulerConfig.SchedulerConfig",
        ],
    ),
    (
        &[
            "cluster",
            "apiServer",
            "admissionControl",
            "#",
            "configuration",
        ],
        &[
            "v1alpha1.Config.ClusterConfig",
            "v1alpha1.ClusterConfig.APIServerConfig",
            "v1alpha1.APIServerConfig.AdmissionControlConfig",
            "v1alpha1.AdmissionPluginConfig.PluginConfiguration",
        ],
    ),
    (
        &["cluster", "apiServer", "resources", "requests"],
        &[
            "v1alpha1.Config.ClusterConfig",
            "v1alpha1.ClusterConfig.APIServerConfig",
            "v1alpha1.APIServerConfig.ResourcesConfig",
            "v1alpha1.ResourcesConfig.Requests",
        ],
    ),
    (
        &["cluster", "apiServer", "resources", "limits"],
        &[
            "v1alpha1.Config.ClusterConfig",
            "v1alpha1.ClusterConfig.APIServerConfig",
            "v1alpha1.APIServerConfig.ResourcesConfig",
            "v1alpha1.ResourcesConfig.Limits",
        ],
    ),
    (
        &["KubeAdmissionControlConfig", "configuration"],
        &["k8s.KubeAdmissionControlConfigV1Alpha1.PluginConfig"],
    ),
    (
        &["KubeAuthorizerConfig", "webhook"],
        &["k8s.KubeAuthorizerConfigV1Alpha1.AuthorizerWebhook"],
    ),
    (
        &["KubeEtcdEncryptionConfig", "config"],
        &["k8s.KubeEtcdEncryptionConfigV1Alpha1.Config"],
    ),
    (
        &["KubeFlannelCNIConfig", "backendExtraConfig"],
        &["k8s.KubeFlannelCNIConfigV1Alpha1.FlannelBackendExtraConfig"],
    ),
    (
        &["KubeletConfig", "config"],
        &["k8s.KubeletConfigV1Alpha1.KubeletConfig"],
    ),
    (
        &["KubeProxyConfig", "config"],
        &["k8s.KubeProxyConfigV1Alpha1.ProxyConfig"],
    ),
    (
        &["KubeSchedulerConfig", "config"],
        &["k8s.KubeSchedulerConfigV1Alpha1.PodConfig"],
    ),
];

/// What the machinery says about two values that cannot be merged. `path` begins with the kind of a document that is
/// not the main one.
pub(super) fn mismatch(path: &[&str], left: &Node, right: &Node) -> String {
    let known = FIELDS.iter().find(|(keys, _)| {
        keys.len() <= path.len()
            && keys.iter().zip(path).all(|(key, own)| {
                key == own || (*key == "#" && own.bytes().all(|b| b.is_ascii_digit()))
            })
    });
    let mut out = String::new();
    if let Some((keys, fields)) = known {
        for field in *fields {
            out.push_str(&format!("merge field {field}: "));
        }
        let package = match keys.first() {
            Some(&"machine" | &"cluster") => "v1alpha1",
            _ => "meta",
        };
        out.push_str(&format!("merge field {package}.Unstructured.Object: "));
    }
    let (left, right) = (type_of(left), type_of(right));
    out + &format!("merge type mismatch left {left} right {right}")
}

fn type_of(node: &Node) -> &'static str {
    match &node.value {
        Value::Sequence(_) => "[]interface {}",
        Value::Mapping(_) => "map[string]interface {}",
        Value::Scalar(scalar) => match scalar.kind {
            Kind::Null => "<nil>",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Float => "float64",
            Kind::Timestamp => "time.Time",
            Kind::Text => "string",
        },
    }
}
