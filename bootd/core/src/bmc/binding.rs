//! Which machine does a BMC control? Its system GUID against the SMBIOS UUIDs of all machines, and against what it said before.
//!
//! Promises: a GUID that is another machine's UUID, and one that is not what it was, are never taken for fine. Deliberately not a
//! reason to refuse: a GUID that is nobody's UUID, because many BMCs have a number of their own; it is remembered instead.

use serde::{Deserialize, Serialize};

use crate::id::MachineId;
use crate::wire::ipmi::SystemGuid;

/// What a machine's BMC said of itself when it was believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The GUID, read as the specification orders its bytes.
    pub guid: String,
    /// How far it is proven.
    pub proof: Proof,
}

/// How far a binding is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// It is the SMBIOS UUID of the machine, in one of the byte orders that BMCs use.
    Smbios,
    /// It was seen first, and cannot be compared.
    FirstSeen,
}

/// What follows from a GUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The BMC tells nothing: no GUID, or one of only zeros or ones.
    Mute,
    /// As it was.
    Same,
    /// To be remembered from now on.
    Bind(Bound),
    /// The BMC controls another machine.
    Other(MachineId),
    /// Another BMC than the one that was bound, or another board.
    Changed(Bound),
}

/// Judges a GUID. `own` is the machine's SMBIOS UUID where it is known; `other` is a machine whose UUID the GUID is.
pub fn judge(
    guid: Option<SystemGuid>,
    own: Option<&str>,
    other: Option<MachineId>,
    bound: Option<&Bound>,
) -> Verdict {
    let Some(guid) = guid.filter(|g| g.0 != [0; 16] && g.0 != [0xff; 16]) else {
        return Verdict::Mute;
    };
    let text = guid.in_spec_order();
    let mine = own.is_some_and(|uuid| guid.matches(uuid));
    let now = |proof| Bound {
        guid: text.clone(),
        proof,
    };
    match (mine, other, bound) {
        (true, _, Some(bound)) if *bound == now(Proof::Smbios) => Verdict::Same,
        (true, _, Some(_) | None) => Verdict::Bind(now(Proof::Smbios)),
        (false, Some(other), _) => Verdict::Other(other),
        (false, None, Some(bound)) if bound.guid == text => Verdict::Same,
        (false, None, Some(bound)) => Verdict::Changed(bound.clone()),
        (false, None, None) => Verdict::Bind(now(Proof::FirstSeen)),
    }
}

/// The UUIDs that a GUID may mean, by the byte orders that BMCs use.
pub fn readings(guid: SystemGuid) -> [String; 3] {
    [
        guid.in_spec_order(),
        guid.in_smbios_order(),
        guid.in_text_order(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "4c4c4544-0042-3510-8052-b4c04f564432";

    fn bytes() -> [u8; 16] {
        let digits = UUID.replace('-', "");
        u128::from_str_radix(&digits, 16).unwrap().to_be_bytes()
    }

    fn bound(guid: &str, proof: Proof) -> Bound {
        Bound {
            guid: guid.to_owned(),
            proof,
        }
    }

    #[test]
    fn a_machines_own_uuid_binds_in_every_byte_order() {
        let mut spec = bytes();
        spec.reverse();
        let mut smbios = bytes();
        smbios[0..4].reverse();
        smbios[4..6].reverse();
        smbios[6..8].reverse();
        for order in [spec, smbios, bytes()] {
            let guid = SystemGuid(order);
            assert!(readings(guid).contains(&UUID.to_owned()), "{guid:?}");
            let Verdict::Bind(made) = judge(Some(guid), Some(UUID), None, None) else {
                panic!("{guid:?}")
            };
            assert_eq!(made.proof, Proof::Smbios);
            let again = judge(Some(guid), Some(UUID), None, Some(&made));
            assert_eq!(again, Verdict::Same);
            // Duplicate UUIDs exist: its own comes first.
            let twin = Some(MachineId("b2".into()));
            assert_eq!(
                judge(Some(guid), Some(UUID), twin, Some(&made)),
                Verdict::Same
            );
        }
    }

    #[test]
    fn another_machines_bmc_and_a_changed_one_are_told_apart() {
        let mut spec = bytes();
        spec.reverse();
        let guid = SystemGuid(spec);
        let own = Some("00000000-0000-0000-0000-000000000001");
        let b2 = || Some(MachineId("b2".into()));
        assert_eq!(
            judge(Some(guid), own, b2(), None),
            Verdict::Other(b2().unwrap())
        );
        assert_eq!(
            judge(Some(guid), None, b2(), None),
            Verdict::Other(b2().unwrap())
        );
        let first = bound(UUID, Proof::FirstSeen);
        assert_eq!(
            judge(Some(guid), own, None, None),
            Verdict::Bind(first.clone())
        );
        assert_eq!(judge(Some(guid), own, None, Some(&first)), Verdict::Same);
        let old = bound("other", Proof::Smbios);
        assert_eq!(
            judge(Some(guid), own, None, Some(&old)),
            Verdict::Changed(old)
        );
        for mute in [
            None,
            Some(SystemGuid([0; 16])),
            Some(SystemGuid([0xff; 16])),
        ] {
            assert_eq!(judge(mute, own, b2(), Some(&first)), Verdict::Mute);
        }
    }
}
