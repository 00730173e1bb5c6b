//! Addresses that no OpenMetadata server has, and that are dangerous to call: a metadata service of a
//! cloud hands out credentials of the machine to every caller that reaches it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services of clouds that are not at a link-local address: Azure's, Alibaba's, Oracle's.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// The same over IPv6: Amazon's and Google's.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];
/// Prefix of the IPv6 addresses that map IPv4 addresses behind a NAT64 (RFC 6052).
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// True for addresses that must not be called because a config says so: link-local ones, metadata
/// services of clouds, and those that name no single machine.
///
/// ```
/// # use ompipe_core::address::is_off_limits;
/// assert!(is_off_limits("169.254.169.254".parse().unwrap()));
/// assert!(!is_off_limits("10.0.0.7".parse().unwrap()));
/// ```
#[must_use]
pub fn is_off_limits(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_off_limits_v4(address),
        IpAddr::V6(address) => match inner(address) {
            Some(inner) => is_off_limits_v4(inner),
            None => is_off_limits_v6(address),
        },
    }
}

fn is_off_limits_v4(address: Ipv4Addr) -> bool {
    address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || METADATA_V4.contains(&address)
}

fn is_off_limits_v6(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || METADATA_V6.contains(&address)
}

/// The IPv4 address that an IPv6 address maps.
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    if segments[..6] == NAT64 {
        let [.., a, b, c, d] = address.octets();
        return Some(Ipv4Addr::new(a, b, c, d));
    }
    address.to_ipv4_mapped()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::aws_google_azure("169.254.169.254", true)]
    #[case::aws_tasks("169.254.170.2", true)]
    #[case::azure("168.63.129.16", true)]
    #[case::alibaba("100.100.100.200", true)]
    #[case::oracle("192.0.0.192", true)]
    #[case::this_host("0.0.0.0", true)]
    #[case::link_local_v6("fe80::1", true)]
    #[case::aws_v6("fd00:ec2::254", true)]
    #[case::this_host_v6("::", true)]
    #[case::mapped("::ffff:169.254.169.254", true)]
    #[case::nat64("64:ff9b::a9fe:a9fe", true)]
    #[case::multicast("ff02::1", true)]
    #[case::private("10.96.0.10", false)]
    #[case::loopback("127.0.0.1", false)]
    #[case::loopback_v6("::1", false)]
    #[case::unique_local("fd12:3456::1", false)]
    #[case::mapped_private("::ffff:10.0.0.1", false)]
    #[case::public("93.184.216.34", false)]
    fn addresses(#[case] address: &str, #[case] expected: bool) {
        assert_eq!(is_off_limits(address.parse().unwrap()), expected);
    }
}
