//! Keeps calls away from addresses that a config must not make ompipe call: as a URL has them,
//! and as a name resolves to them.

use std::net::{IpAddr, SocketAddr};

use futures::FutureExt;
use ompipe_core::address::is_off_limits;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::Error;

/// Refuses a URL whose host is such an address. `url` has brought every spelling of an IPv4 address
/// into one form.
pub(crate) fn check(url: &Url) -> Result<(), Error> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    if is_off_limits(address) { Err(Error::OffLimits(address.to_string())) } else { Ok(()) }
}

/// Resolves names as the system does, without such addresses. The connection goes to what was
/// checked: the name is not resolved again.
#[derive(Debug)]
pub(crate) struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| !is_off_limits(address.ip())).collect();
            if allowed.is_empty() {
                return Err("its name has no address that ompipe may call".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://169.254.169.254/latest", true)]
    #[case::decimal("http://2852039166/latest", true)]
    #[case::hexadecimal("http://0xa9.0xfe.0xa9.0xfe/", true)]
    #[case::mapped("http://[::ffff:a9fe:a9fe]/", true)]
    #[case::short("http://0/", true)]
    #[case("http://127.0.0.1:8585/api", false)]
    #[case("http://openmetadata:8585/api", false)]
    fn addresses_in_urls(#[case] url: &str, #[case] is_refused: bool) {
        assert_eq!(check(&Url::parse(url).unwrap()).is_err(), is_refused);
    }

    #[tokio::test]
    async fn names_that_lead_to_such_an_address_have_none() {
        let refused = Guarded.resolve("169.254.169.254".parse().unwrap()).await;
        assert!(refused.is_err());
        let mut found = Guarded.resolve("localhost".parse().unwrap()).await.unwrap();
        assert!(found.next().is_some());
    }
}
