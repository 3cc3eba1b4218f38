//! The order in which blocks are worked on: what is referred to comes first.

use std::collections::{BTreeMap, BTreeSet};

use super::hcl::Declared;

/// Every address, each after those that it needs.
pub(super) fn order(blocks: &BTreeMap<String, Declared>) -> Result<Vec<String>, String> {
    let mut done: Vec<String> = Vec::new();
    let mut open: BTreeSet<&String> = blocks.keys().collect();
    while !open.is_empty() {
        let ready: Vec<_> = open
            .iter()
            .copied()
            .filter(|address| {
                let mut needs = blocks[*address].needs.iter();
                needs.all(|n| !blocks.contains_key(n) || done.contains(n))
            })
            .collect();
        if ready.is_empty() {
            return Err(format!("these refer to each other in a circle: {open:?}"));
        }
        for address in ready {
            open.remove(address);
            done.push(address.clone());
        }
    }
    Ok(done)
}
