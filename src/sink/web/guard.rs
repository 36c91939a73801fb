//! [`Guard`]: to which addresses requests may go (`allow_private`).
//!
//! What is looked at is the address that a name resolves to, at each connection: a name that points
//! into the own network is no way around it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses requests may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink) enum Guard {
    /// Public ones, and this machine's own.
    Public,
    /// Any.
    Any,
}

/// An address of a network that is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrivateAddress(pub(in crate::sink) IpAddr);

impl fmt::Display for PrivateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is a private address: allow_private = true lets requests go there", self.0)
    }
}

impl std::error::Error for PrivateAddress {}

impl Guard {
    pub(in crate::sink) const fn new(allow_private: bool) -> Self {
        if allow_private { Self::Any } else { Self::Public }
    }

    /// Whether a request may go there.
    ///
    /// # Errors
    /// Why not.
    pub(in crate::sink) fn check(self, address: IpAddr) -> Result<(), PrivateAddress> {
        let address = address.to_canonical();
        let is_fine = match self {
            Self::Any => true,
            Self::Public => address.is_loopback() || is_public(address),
        };
        if is_fine { Ok(()) } else { Err(PrivateAddress(address)) }
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Source: the IANA IPv4 special-purpose address registry (RFC 6890).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match (a, b, c) {
        // This network; private; link-local, where clouds tell secrets; benchmarks.
        (0 | 10, ..) | (172, 16..=31, _) | (192, 168, _) | (169, 254, _) | (198, 18 | 19, _) => {
            true
        }
        // Shared by providers.
        (100, 64..=127, _) => true,
        // Protocols, relays, documentation.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113) => true,
        // Multicast, reserved, broadcast.
        (224..=255, ..) => true,
        _ => false,
    };
    !is_special
}

/// Source: the IANA IPv6 special-purpose address registry (RFC 6890).
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, ..] = address.segments();
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // 6to4 and NAT64 carry an address of the older kind.
        (0x2002, _) => embedded(b, c),
        (0x0064, 0xff9b) if [c, d, e, f] == [0; 4] => {
            let [.., high, low] = address.segments();
            embedded(high, low)
        }
        (0x0064, 0xff9b) | (0x0100, 0) | (0x2001, 0x0db8 | 0x0000..=0x01ff) | (0x5f00, _) => false,
        // Unique local, link-local, site-local, multicast.
        (0xfc00..=0xfdff | 0xfe80..=0xfeff | 0xff00..=0xffff, _) => false,
        // Unspecified and what embeds the older kind without saying so.
        (0, _) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addresses: &[&str], may: bool) {
        for text in addresses {
            let address = text.parse().unwrap();
            assert_eq!(Guard::Public.check(address).is_ok(), may, "{text}");
            assert!(Guard::Any.check(address).is_ok(), "{text}");
        }
    }

    #[test]
    fn public_addresses_and_this_machine_are_fine() {
        check(&["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"], true);
        check(&["8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1"], true);
        check(&["2a00:1450:4001::1", "64:ff9b::8.8.8.8", "2002:808:808::1"], true);
    }

    #[test]
    fn private_and_special_ones_are_not() {
        check(&["10.0.0.1", "172.16.0.1", "172.31.255.1", "192.168.1.1", "169.254.169.254"], false);
        check(&["0.0.0.0", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"], false);
        check(&["fd00::1", "fe80::1", "ff02::1", "::", "2001:db8::1", "::ffff:10.0.0.1"], false);
        check(&["64:ff9b::10.0.0.1", "2002:a00:1::1", "64:ff9b:1::1"], false);
    }
}
