//! The two messages of IPv6 router discovery (RFC 4861) that an empty advertisement needs. Checksums are the kernel's.

/// The group that solicitations are sent to.
pub const ALL_ROUTERS: [u16; 8] = [0xff02, 0, 0, 0, 0, 0, 0, 2];
/// The group that everybody is in.
pub const ALL_NODES: [u16; 8] = [0xff02, 0, 0, 0, 0, 0, 0, 1];
/// Hop limit of every message of router discovery (§6.1).
pub const HOP_LIMIT: u32 = 255;

const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// Type, code, checksum, reserved.
const SOLICITATION_BYTES: usize = 8;

/// Is it a router solicitation (§6.1.1)? Its options must be well-formed, and say nothing that is needed here.
pub fn is_solicitation(icmp: &[u8]) -> bool {
    let Some((head, mut options)) = icmp.split_at_checked(SOLICITATION_BYTES) else {
        return false;
    };
    if head[0] != SOLICITATION || head[1] != 0 {
        return false;
    }
    // Each option's second byte is its length in units of eight bytes, and zero is forbidden (§4.6).
    while let [_, units, ..] = options {
        match options.split_at_checked(usize::from(*units) * 8) {
            Some((option, rest)) if !option.is_empty() => options = rest,
            Some(_) | None => return false,
        }
    }
    options.is_empty()
}

/// An advertisement that says: here is nothing. Lifetime 0 makes nobody take us for a router, no flag sends anybody to DHCPv6, and
/// no prefix gives anybody an address; but who waits for a router need not wait any longer.
pub const fn empty_advertisement() -> [u8; 16] {
    let mut message = [0; 16];
    message[0] = ADVERTISEMENT;
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn solicitations_are_told_from_everything_else() {
        let bare = [133, 0, 0xab, 0xcd, 0, 0, 0, 0];
        let check = |bytes: &[u8], want| assert_eq!(is_solicitation(bytes), want, "{bytes:?}");
        check(&bare, true);
        // With the sender's Ethernet address, as Linux and iPXE send it.
        let option = [1, 1, 0x52, 0x54, 0, 0, 0, 1];
        check(&[bare, option].concat(), true);
        check(&[&bare[..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat(), false);
        check(&[&bare[..], &[1, 2, 0, 0, 0, 0, 0, 0]].concat(), false);
        check(&[&bare[..], &[1]].concat(), false);
        check(&bare[..7], false);
        check(&[134, 0, 0, 0, 0, 0, 0, 0], false);
        check(&[133, 1, 0, 0, 0, 0, 0, 0], false);
        check(&[], false);
        check(&empty_advertisement(), false);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = is_solicitation(&bytes);
        }
    }
}
