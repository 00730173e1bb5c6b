//! Which addresses a fixture may listen on.

use std::net::IpAddr;

/// A fixture was asked to listen where machines other than this one could reach it.
#[derive(Debug, thiserror::Error)]
#[error(
    "refusing to listen on {0}: fixtures know no TLS and accept one constant token, so only loopback \
     and private addresses are allowed; pass 127.0.0.1 or the address of the sandbox's bridge"
)]
pub struct NotLocal(pub IpAddr);

/// Allows loopback and private addresses, the latter for the sandbox's bridge.
///
/// The unspecified address (`0.0.0.0`, `::`) is refused as well: it includes every outer interface.
pub(crate) fn require_local(ip: IpAddr) -> Result<(), NotLocal> {
    let local = match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    };
    if local { Ok(()) } else { Err(NotLocal(ip)) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::require_local;

    #[rstest]
    #[case("127.0.0.1", true)]
    #[case("::1", true)]
    #[case("10.88.0.1", true)]
    #[case("172.31.7.1", true)]
    #[case("0.0.0.0", false)]
    #[case("::", false)]
    #[case("192.0.2.2", false)]
    #[case("8.8.8.8", false)]
    #[case("224.0.0.1", false)]
    fn only_local_addresses_are_allowed(#[case] ip: &str, #[case] allowed: bool) {
        assert_eq!(require_local(ip.parse().unwrap()).is_ok(), allowed);
    }
}
