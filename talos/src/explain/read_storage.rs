//! Volumes and the firewall.

use super::{Source, items, text, toggle};
use crate::layer::{
    DefaultAction, Encryption, EncryptionKey, Firewall, FirewallRule, Ingress, Layer, PortRange,
    Protocol, Provisioning, SystemVolume, UserVolume, VolumeDisk,
};
use crate::secrets::Secret;
use crate::yaml::Node;

pub(super) fn volumes(source: &Source<'_>, layer: &mut Layer) {
    let user = source.all("UserVolumeConfig");
    layer.node.volumes = user.map(|(name, node)| user_volume(name, node)).collect();
    let system = source.all("VolumeConfig");
    let mut system: Vec<SystemVolume> = system
        .map(|(name, node)| system_volume(name, node))
        .collect();
    for (key, name) in [("ephemeral", "EPHEMERAL"), ("state", "STATE")] {
        let path = ["machine", "systemDiskEncryption", key];
        let Some(encryption) = source.main(&path).and_then(encryption) else {
            continue;
        };
        match system.iter_mut().find(|v| v.name == name) {
            Some(volume) => volume.encryption = Some(encryption),
            None => system.push(SystemVolume {
                name: name.to_owned(),
                provisioning: Provisioning::default(),
                encryption: Some(encryption),
            }),
        }
    }
    layer.node.system_volumes = system;
}

/// Disks with one partition where a user volume would be mounted.
pub(super) fn machine_disks(source: &Source<'_>, layer: &mut Layer) {
    for disk in items(source.main(&["machine", "disks"])) {
        let [partition] = items(disk.at(&["partitions"])) else {
            continue;
        };
        let name = partition
            .text_at(&["mountpoint"])
            .and_then(|m| m.strip_prefix("/var/mnt/"));
        let (Some(name), Some(device)) = (name, text(disk, &["device"])) else {
            continue;
        };
        layer.node.volumes.push(UserVolume {
            name: name.to_owned(),
            provisioning: Provisioning {
                disk: VolumeDisk::Device(device),
                max_size: text(partition, &["size"]),
                ..Provisioning::default()
            },
            filesystem: None,
            encryption: None,
        });
    }
}

pub(crate) fn user_volume(name: &str, node: &Node) -> UserVolume {
    UserVolume {
        name: name.to_owned(),
        provisioning: provisioning(node),
        filesystem: text(node, &["filesystem", "type"]),
        encryption: node.at(&["encryption"]).and_then(encryption),
    }
}

pub(crate) fn system_volume(name: &str, node: &Node) -> SystemVolume {
    SystemVolume {
        name: name.to_owned(),
        provisioning: provisioning(node),
        encryption: node.at(&["encryption"]).and_then(encryption),
    }
}

fn provisioning(node: &Node) -> Provisioning {
    let at = |key: &'static str| ["provisioning", key];
    let expression = text(node, &["provisioning", "diskSelector", "match"]);
    Provisioning {
        disk: expression.map_or(VolumeDisk::Unstated, VolumeDisk::Expression),
        min_size: text(node, &at("minSize")),
        max_size: text(node, &at("maxSize")),
        grow: toggle(node, &at("grow")),
    }
}

/// Keys whose slots count from 0 in order; others are left to patches.
fn encryption(node: &Node) -> Option<Encryption> {
    let keys = items(node.at(&["keys"])).iter().enumerate();
    let keys = keys.map(|(slot, key)| {
        let expected = slot.to_string();
        key.text_at(&["slot"]).filter(|s| *s == expected)?;
        if let Some(passphrase) = text(key, &["static", "passphrase"]) {
            Some(EncryptionKey::Static(Secret::new(passphrase)))
        } else if let Some(url) = text(key, &["kms", "endpoint"]) {
            Some(EncryptionKey::Kms(url))
        } else if key.at(&["nodeID"]).is_some() {
            Some(EncryptionKey::NodeId)
        } else {
            key.at(&["tpm"]).map(|_| EncryptionKey::Tpm)
        }
    });
    let keys: Vec<EncryptionKey> = keys.collect::<Option<_>>()?;
    (!keys.is_empty()).then_some(Encryption { keys })
}

pub(super) fn firewall(source: &Source<'_>, layer: &mut Layer) {
    let action = source.one("NetworkDefaultActionConfig");
    let rules = source.all("NetworkRuleConfig");
    let rules: Option<Vec<FirewallRule>> = rules.map(|(name, node)| rule(name, node)).collect();
    let (Some(action), Some(rules)) = (action, rules) else {
        return;
    };
    layer.node.firewall = Some(Firewall {
        default_action: match action.text_at(&["ingress"]) {
            Some("block") => DefaultAction::Block,
            _ => DefaultAction::Accept,
        },
        rules,
    });
}

pub(crate) fn rule(name: &str, node: &Node) -> Option<FirewallRule> {
    let ports = items(node.at(&["portSelector", "ports"])).iter();
    let ports = ports.map(|port| PortRange::parse(port.as_text()?));
    let protocol = match node.text_at(&["portSelector", "protocol"])? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "icmp" => Protocol::Icmp,
        "icmpv6" => Protocol::Icmpv6,
        _ => return None,
    };
    let ingress = items(node.at(&["ingress"])).iter();
    let ingress = ingress.map(|from| {
        Some(Ingress {
            subnet: text(from, &["subnet"])?,
            except: text(from, &["except"]),
        })
    });
    Some(FirewallRule {
        name: name.to_owned(),
        ports: ports.collect::<Option<_>>()?,
        protocol,
        ingress: ingress.collect::<Option<_>>()?,
    })
}
