//! Bonds of the main document.

use super::found::{Scope, number};
use crate::yaml::Node;

pub(super) const MODES: [&str; 7] = [
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
];

pub(super) fn check(scope: &mut Scope<'_>, bond: &Node, at: &str) {
    let text = |key: &str| bond.text_at(&[key]).unwrap_or_default();
    let count = |key: &str| number(bond, &[key]).unwrap_or(0);
    let mut errors: Vec<String> = Vec::new();
    let written = text("mode");
    let mode = MODES.iter().find(|m| **m == written).copied();
    if mode.is_none() && !written.is_empty() {
        errors.push(format!("invalid bond type {written}"));
    }
    let mode = mode.unwrap_or(MODES[0]);
    choices(&text, &mut errors);
    delays(&count, &mut errors);
    let is = |modes: &[&str]| modes.contains(&mode);
    let dynamic = is(&["balance-alb", "balance-tlb"]);
    let distributed = dynamic || is(&["802.3ad"]);
    let has = |key: &str| {
        bond.at(&[key])
            .and_then(Node::as_sequence)
            .is_some_and(|s| !s.is_empty())
    };
    if has("arpIPTarget") {
        errors.push("bond.arpIPTarget is not supported".into());
    }
    if !text("lacpRate").is_empty() && !is(&["802.3ad"]) {
        errors.push("bond.lacpRate is only available in 802.3ad mode".into());
    }
    if !text("adActorSystem").is_empty() {
        errors.push("bond.adActorSystem is not supported".into());
    }
    let mut unavailable = |wrong: bool, key: &str| {
        if wrong {
            errors.push(format!("bond.{key} is not available in {mode} mode"));
        }
    };
    unavailable(
        distributed && !text("arpValidate").is_empty(),
        "arpValidate",
    );
    let primary = !text("primary").is_empty();
    unavailable(primary && !dynamic && !is(&["active-backup"]), "primary");
    unavailable(distributed && count("arpInterval") > 0, "arpInterval");
    unavailable(
        !is(&["balance-rr"]) && count("packetsPerSlave") > 1,
        "packetsPerSlave",
    );
    unavailable(!dynamic && count("tlbDynamicLb") > 0, "tlbDynamicTLB");
    for key in ["adActorSysPrio", "adUserPortKey"] {
        if !is(&["802.3ad"]) && count(key) > 0 {
            errors.push(format!("bond.{key} is only available in 802.3ad mode"));
        }
    }
    for reason in errors {
        scope.error_at(bond, at.to_owned(), reason);
    }
}

fn choices<'a>(text: &impl Fn(&str) -> &'a str, errors: &mut Vec<String>) {
    let all: [(&str, &str, &[&str]); 7] = [
        (
            "xmitHashPolicy",
            "xmit hash policy",
            &["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4"],
        ),
        ("lacpRate", "lacp rate", &["slow", "fast"]),
        (
            "arpValidate",
            "arp_validate mode",
            &[
                "none",
                "active",
                "backup",
                "all",
                "filter",
                "filter-active",
                "filter-backup",
            ],
        ),
        ("arpAllTargets", "arp_all_targets mode", &["any", "all"]),
        (
            "primaryReselect",
            "primary_reselect mode",
            &["always", "better", "failure"],
        ),
        (
            "failOverMac",
            "fail_over_mac value",
            &["none", "active", "follow"],
        ),
        (
            "adSelect",
            "ad_select mode",
            &["stable", "bandwidth", "count"],
        ),
    ];
    for (key, what, known) in all {
        let value = text(key);
        if !value.is_empty() && !known.contains(&value) {
            errors.push(format!("invalid {what} {value}"));
        }
    }
}

fn delays(count: &impl Fn(&str) -> i128, errors: &mut Vec<String>) {
    let interval = count("miimon");
    for (key, name) in [("updelay", "upDelay"), ("downdelay", "downDelay")] {
        let delay = count(key);
        if interval == 0 && delay != 0 {
            errors.push(format!("bond.{name} can't be set if miiMon is zero"));
        } else if interval != 0 && delay % interval != 0 {
            errors.push(format!("bond.{name} should be a multiple of miiMon"));
        }
    }
}
