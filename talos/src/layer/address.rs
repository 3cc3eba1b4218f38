//! Addresses and networks in arguments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) address: IpAddr,
    pub(super) length: u8,
}

impl Prefix {
    /// Reads `ADDRESS/LENGTH`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
        let length: u8 = digits.then(|| length.parse().ok())??;
        (length <= bits(address)).then_some(Self { address, length })
    }

    /// Whether an address is in its network. Families never mix.
    pub(super) fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length));
                let mask = mask.unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length));
                let mask = mask.unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether it is the default route of its family.
    pub(super) fn is_everything(&self) -> bool {
        self.length == 0
            && (self.address == IpAddr::V4(Ipv4Addr::UNSPECIFIED)
                || self.address == IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let check = |network: &str, address: &str, expected: bool| {
            let held = Prefix::parse(network).is_some_and(|p| p.holds(address.parse().unwrap()));
            assert_eq!(held, expected, "{address} in {network}");
        };
        check("10.0.0.0/24", "10.0.0.255", true);
        check("10.0.0.0/24", "10.0.1.0", false);
        check("0.0.0.0/0", "192.0.2.1", true);
        check("0.0.0.0/0", "fd00::1", false);
        check("fd00::/8", "fdff::1", true);
        check("10.0.0.1/32", "10.0.0.1", true);
        for bad in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8", "x/8", "10.0.0.0/"] {
            assert_eq!(Prefix::parse(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            if let Some(prefix) = Prefix::parse(&text) {
                proptest::prop_assert!(prefix.holds(prefix.address));
            }
        }
    }
}
