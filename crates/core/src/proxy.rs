//! Which proxy a call goes through: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, upper case
//! before lower case, as Go programs such as kubectl read them.

use std::fmt;
use std::net::IpAddr;

/// The proxies of an environment.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    exceptions: Vec<String>,
}

/// A proxy. `Display` and `Debug` leave out its user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(String);

impl Proxies {
    /// Reads the variables; an empty one counts as not set.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| {
            let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
            set(name).or_else(|| set(&name.to_lowercase()))
        };
        let proxy = |name: &str| value(name).and_then(|text| Proxy::parse(&text));
        let all = proxy("ALL_PROXY");
        let exceptions = value("NO_PROXY").unwrap_or_default();
        let separator = |c: char| c == ',' || c.is_whitespace();
        Self {
            https: proxy("HTTPS_PROXY").or_else(|| all.clone()),
            http: proxy("HTTP_PROXY").or(all),
            exceptions: exceptions
                .split(separator)
                .filter(|entry| !entry.is_empty())
                .map(str::to_lowercase)
                .collect(),
        }
    }

    /// The proxy that a call to a URL goes through.
    #[must_use]
    pub fn of_url(&self, url: &str) -> Option<&Proxy> {
        let (scheme, rest) = url.split_once("://")?;
        let (proxy, port) = match scheme {
            "https" => (self.https.as_ref()?, "443"),
            _ => (self.http.as_ref()?, "80"),
        };
        let (host, given) = host_and_port(rest);
        let port = given.unwrap_or(port);
        let excepted = |entry: &String| is_excepted(entry, &host.to_lowercase(), port);
        (!self.exceptions.iter().any(excepted)).then_some(proxy)
    }
}

impl Proxy {
    /// An HTTP proxy, which is the default without a scheme; `None` for other kinds.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.split_once("://") {
            Some(("http" | "https", _)) => Some(Self(text.to_owned())),
            Some(_) => None,
            None => Some(Self(format!("http://{text}"))),
        }
    }

    /// The URL, with its credentials: only for the client that uses it.
    #[must_use]
    pub fn url_with_credentials(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("http", &self.0));
        // A password may contain an unescaped slash or question mark.
        let address = rest.rsplit('@').next().unwrap_or_default();
        let address = address.split(['/', '?', '#']).next().unwrap_or_default();
        write!(f, "{scheme}://{address}")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// True for a URL of this machine, which kubectl never sends through a proxy.
#[must_use]
pub fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, _) = host_and_port(rest);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn host_and_port(rest: &str) -> (&str, Option<&str>) {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let address = authority.rsplit('@').next().unwrap_or_default();
    split_port(address)
}

fn split_port(address: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match address.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (address, None),
    }
}

/// An entry is `*`, an address, a range of addresses, or a name, which includes its subdomains;
/// with a leading dot it only means the subdomains.
fn is_excepted(entry: &str, host: &str, port: &str) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, length)) = entry.split_once('/') {
        return is_within(host, network, length).unwrap_or(false);
    }
    let (name, of_port) = split_port(entry);
    if of_port.is_some_and(|of_port| of_port != port) {
        return false;
    }
    if let (Ok(name), Ok(host)) = (name.parse::<IpAddr>(), host.parse::<IpAddr>()) {
        return name == host;
    }
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn is_within(host: &str, network: &str, length: &str) -> Option<bool> {
    let length: u32 = length.parse().ok()?;
    let (host, network): (IpAddr, IpAddr) = (host.parse().ok()?, network.parse().ok()?);
    let (host, network, bits) = match (host, network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => {
            (u128::from(host.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(host), IpAddr::V6(network)) => (host.to_bits(), network.to_bits(), 128_u32),
        _ => return None,
    };
    let shift = bits.checked_sub(length)?;
    Some(host.checked_shr(shift).unwrap_or(0) == network.checked_shr(shift).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name);
        Proxies::read(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[rstest]
    #[case::https(&[("HTTPS_PROXY", "http://p:3128")], "https://om/api", Some("http://p:3128"))]
    #[case::http(&[("HTTPS_PROXY", "http://p:3128")], "http://om/api", None)]
    #[case::lower_case(&[("http_proxy", "p:3128")], "http://om/api", Some("http://p:3128"))]
    #[case::all(&[("ALL_PROXY", "http://p")], "http://om/api", Some("http://p"))]
    #[case::special_first(&[("ALL_PROXY", "http://a"), ("HTTPS_PROXY", "http://p")], "https://om", Some("http://p"))]
    #[case::empty(&[("HTTPS_PROXY", " ")], "https://om", None)]
    #[case::socks(&[("ALL_PROXY", "socks5://p")], "https://om", None)]
    #[case::credentials(&[("HTTPS_PROXY", "http://u:hunter2@p:1/")], "https://om", Some("http://p:1"))]
    #[case::odd_password(&[("HTTPS_PROXY", "http://u:hun/ter2?@p:1/")], "https://om", Some("http://p:1"))]
    fn the_proxy(
        #[case] variables: &[(&str, &str)],
        #[case] url: &str,
        #[case] expected: Option<&str>,
    ) {
        let proxies = proxies(variables);
        assert_eq!(proxies.of_url(url).map(ToString::to_string).as_deref(), expected);
        assert!(!format!("{proxies:?}").contains("ter2"));
    }

    #[rstest]
    #[case("127.0.0.1,localhost", "https://127.0.0.1:6443", true)]
    #[case("localhost, om.data", "https://om.data/api", true)]
    #[case("example.com", "https://om.example.com", true)]
    #[case("example.com", "https://notexample.com", false)]
    #[case(".example.com", "https://om.example.com", true)]
    #[case(".example.com", "https://example.com", false)]
    #[case("*.example.com", "https://om.example.com", true)]
    #[case(".svc,.cluster.local", "https://kubernetes.default.svc:443", true)]
    #[case("10.0.0.0/8", "https://10.1.2.3:6443", true)]
    #[case("10.0.0.0/8", "https://11.1.2.3:6443", false)]
    #[case("10.0.0.0/8", "https://ten.example.com", false)]
    #[case("fd00::/8", "https://[fd12::1]:6443", true)]
    #[case("0.0.0.0/0", "https://192.0.2.1", true)]
    #[case("10.0.0.0/99", "https://10.0.0.1", false)]
    #[case("[::1]:6443", "https://[::1]:6443", true)]
    #[case("om:8585", "https://om:8585", true)]
    #[case("om:8585", "https://om", false)]
    #[case("om:443", "https://om", true)]
    #[case("OM.Example.com", "https://om.example.COM", true)]
    #[case("*", "https://om", true)]
    #[case("", "https://om", false)]
    fn exceptions(#[case] list: &str, #[case] url: &str, #[case] excepted: bool) {
        let proxies = proxies(&[("HTTPS_PROXY", "http://p"), ("NO_PROXY", list)]);
        assert_eq!(proxies.of_url(url).is_none(), excepted);
    }

    #[rstest]
    #[case("https://127.0.0.1:6443", true)]
    #[case("https://localhost:6443/k", true)]
    #[case("https://[::1]:6443", true)]
    #[case("https://127.example.com", false)]
    fn this_machine(#[case] url: &str, #[case] expected: bool) {
        assert_eq!(is_loopback(url), expected);
    }
}
