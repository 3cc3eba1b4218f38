//! The agent's own DHCP client (RFC 2131): which bytes to send, and what an answer means. Pure; [`crate::linux`] has the socket.
//!
//! The requests carry no PXE class on purpose: a boot server beside the DHCP server must not take the agent for firmware.

use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};

/// An address with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Ours.
    pub address: Ipv4Addr,
    /// Of its network.
    pub mask: Ipv4Addr,
    /// Default router, if the server named one.
    pub router: Option<Ipv4Addr>,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// For how long.
    pub time: Duration,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// An offer to be requested.
    Offer(Lease),
    /// The address is ours.
    Ack(Lease),
    /// Start again.
    Nak,
}

/// One conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Transaction id.
    pub xid: u32,
    /// Hardware address of the interface.
    pub mac: [u8; 6],
}

impl Client {
    /// "Who has an address for me?"
    #[must_use]
    pub fn discover(&self) -> Vec<u8> {
        self.message(MessageType::Discover, Ipv4Addr::UNSPECIFIED, &[])
    }

    /// "I take this offer."
    #[must_use]
    pub fn request(&self, offer: &Lease) -> Vec<u8> {
        let choice = [
            DhcpOption::RequestedIpAddress(offer.address),
            DhcpOption::ServerIdentifier(offer.server),
        ];
        self.message(MessageType::Request, Ipv4Addr::UNSPECIFIED, &choice)
    }

    /// "I keep it" (RFC 2131 §4.3.2, REBINDING: any server may answer).
    #[must_use]
    pub fn renew(&self, lease: &Lease) -> Vec<u8> {
        self.message(MessageType::Request, lease.address, &[])
    }

    fn message(&self, kind: MessageType, held: Ipv4Addr, options: &[DhcpOption]) -> Vec<u8> {
        let mut message = Message::default();
        message
            .set_xid(self.xid)
            .set_chaddr(&self.mac)
            .set_ciaddr(held);
        if held.is_unspecified() {
            // Without an address only a broadcast reaches us.
            message.set_flags(Flags::default().set_broadcast());
        }
        let wanted = [
            OptionCode::SubnetMask,
            OptionCode::Router,
            OptionCode::AddressLeaseTime,
            OptionCode::ServerIdentifier,
        ];
        let all = message.opts_mut();
        all.insert(DhcpOption::MessageType(kind));
        all.insert(DhcpOption::ParameterRequestList(wanted.to_vec()));
        all.insert(DhcpOption::MaxMessageSize(1472));
        for option in options {
            all.insert(option.clone());
        }
        let mut bytes = Vec::new();
        message
            .encode(&mut Encoder::new(&mut bytes))
            .expect("a message of fixed small options fits any buffer that grows");
        bytes
    }

    /// Reads an answer; `None` if it is not for us or of no use (a proxy's offer has no address).
    #[must_use]
    pub fn read(&self, bytes: &[u8]) -> Option<Reply> {
        // A hardware address longer than its field would make `Message::chaddr` panic (dhcproto 0.15).
        let length = bytes.get(2).copied()?;
        if usize::from(length) != self.mac.len() {
            return None;
        }
        let message = Message::decode(&mut Decoder::new(bytes)).ok()?;
        if message.xid() != self.xid || message.chaddr() != self.mac {
            return None;
        }
        let options = message.opts();
        let kind = options.msg_type()?;
        if kind == MessageType::Nak {
            return Some(Reply::Nak);
        }
        let Some(DhcpOption::ServerIdentifier(server)) = options.get(OptionCode::ServerIdentifier)
        else {
            return None;
        };
        if message.yiaddr().is_unspecified() {
            return None;
        }
        let lease = Lease {
            address: message.yiaddr(),
            mask: match options.get(OptionCode::SubnetMask) {
                Some(DhcpOption::SubnetMask(mask)) => *mask,
                _ => Ipv4Addr::new(255, 255, 255, 0),
            },
            router: match options.get(OptionCode::Router) {
                Some(DhcpOption::Router(routers)) => routers.first().copied(),
                _ => None,
            },
            server: *server,
            time: match options.get(OptionCode::AddressLeaseTime) {
                Some(DhcpOption::AddressLeaseTime(seconds)) => {
                    Duration::from_secs(u64::from(*seconds))
                }
                _ => Duration::from_secs(3600),
            },
        };
        if kind == MessageType::Offer {
            Some(Reply::Offer(lease))
        } else if kind == MessageType::Ack {
            Some(Reply::Ack(lease))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhcproto::v4::Opcode;
    use proptest::prelude::*;

    const CLIENT: Client = Client {
        xid: 7,
        mac: [0x52, 0x54, 0, 0, 0, 1],
    };

    fn answer(kind: MessageType, yours: [u8; 4]) -> Vec<u8> {
        let mut message = Message::default();
        message
            .set_opcode(Opcode::BootReply)
            .set_xid(7)
            .set_chaddr(&CLIENT.mac)
            .set_yiaddr(yours);
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ServerIdentifier([10, 0, 0, 2].into()));
        options.insert(DhcpOption::SubnetMask([255, 255, 0, 0].into()));
        options.insert(DhcpOption::Router(vec![[10, 0, 0, 1].into()]));
        options.insert(DhcpOption::AddressLeaseTime(600));
        let mut bytes = Vec::new();
        message.encode(&mut Encoder::new(&mut bytes)).unwrap();
        bytes
    }

    #[test]
    fn a_lease_in_four_messages() {
        let discover = Message::decode(&mut Decoder::new(&CLIENT.discover())).unwrap();
        assert!(discover.flags().broadcast());
        assert!(discover.opts().get(OptionCode::ClassIdentifier).is_none());
        let Some(Reply::Offer(offer)) = CLIENT.read(&answer(MessageType::Offer, [10, 0, 3, 4]))
        else {
            panic!()
        };
        let request = Message::decode(&mut Decoder::new(&CLIENT.request(&offer))).unwrap();
        assert_eq!(
            request.opts().get(OptionCode::RequestedIpAddress),
            Some(&DhcpOption::RequestedIpAddress(offer.address))
        );
        let Some(Reply::Ack(lease)) = CLIENT.read(&answer(MessageType::Ack, [10, 0, 3, 4])) else {
            panic!()
        };
        insta::assert_debug_snapshot!(lease, @r"
        Lease {
            address: 10.0.3.4,
            mask: 255.255.0.0,
            router: Some(
                10.0.0.1,
            ),
            server: 10.0.0.2,
            time: 600s,
        }
        ");
        let renew = Message::decode(&mut Decoder::new(&CLIENT.renew(&lease))).unwrap();
        assert_eq!(renew.ciaddr(), lease.address);
        assert_eq!(
            CLIENT.read(&answer(MessageType::Nak, [0, 0, 0, 0])),
            Some(Reply::Nak)
        );
    }

    #[test]
    fn what_is_not_for_us() {
        assert_eq!(
            CLIENT.read(&answer(MessageType::Offer, [0, 0, 0, 0])),
            None,
            "a proxy's offer"
        );
        let other = Client { xid: 8, ..CLIENT };
        assert_eq!(other.read(&answer(MessageType::Offer, [10, 0, 3, 4])), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = CLIENT.read(&bytes);
        }
    }
}
