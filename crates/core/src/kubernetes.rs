//! Names and values that Kubernetes has rules for, checked once (Kubernetes: *Object Names and
//! IDs*, *Labels and Selectors*).

use std::fmt;
use std::str::FromStr;

/// Longest DNS label, label value and pod name that works everywhere.
pub const MAX_LABEL: usize = 63;
/// Longest DNS subdomain.
const MAX_SUBDOMAIN: usize = 253;

/// Defines a checked string: `FromStr` is the only way in, `Display` and `as_str` the way out.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $check:expr, $remedy:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err($remedy) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_string! {
    /// Name of a namespace: a DNS label.
    Namespace,
    is_dns_label,
    "must be a DNS label: 1 to 63 lower-case letters, digits and inner hyphens"
}

checked_string! {
    /// Name of an object that exists outside of ompipe's care: a DNS subdomain.
    ObjectName,
    is_dns_subdomain,
    "must be a DNS subdomain: 1 to 253 lower-case letters, digits, inner hyphens and dots"
}

checked_string! {
    /// Key of a label or annotation: an optional DNS prefix and a name.
    QualifiedName,
    is_qualified_name,
    "must be a label key: an optional DNS prefix with a slash, then 1 to 63 letters, digits, '-', '_', '.'"
}

checked_string! {
    /// Value of a label.
    LabelValue,
    is_label_value,
    "must be a label value: at most 63 letters, digits, '-', '_', '.', starting and ending with a letter or digit"
}

checked_string! {
    /// Reference to a container image: `[registry[:port]/]path[:tag][@digest]`.
    Image,
    is_image,
    "must be an image reference such as registry.example.com:5000/team/ingestion:1.4.0"
}

impl Image {
    /// The tag, which is a version as a rule. A registry's port and a digest are no tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        let name = self.0.split_once('@').map_or(self.as_str(), |(name, _)| name);
        let last = name.rsplit('/').next()?;
        last.split_once(':').map(|(_, tag)| tag)
    }
}

checked_string! {
    /// Name of an environment variable.
    EnvName,
    is_env_name,
    "must be an environment variable name: letters, digits, '_', '-', '.', not starting with a digit"
}

impl LabelValue {
    /// The nearest valid label value: characters that are not allowed become hyphens.
    #[must_use]
    pub fn sanitised(text: &str) -> Self {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let replaced: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
        let trim = |text: &str| text.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
        let cut: String = trim(&replaced).chars().take(MAX_LABEL).collect();
        Self(trim(&cut))
    }
}

fn is_dns_label(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=MAX_LABEL).contains(&text.len()) && within(text, allowed, |c| c == b'-')
}

fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_dns_label)
}

fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

fn is_label_name(text: &str) -> bool {
    let inner = |c: u8| matches!(c, b'-' | b'_' | b'.');
    (1..=MAX_LABEL).contains(&text.len()) && within(text, |c| c.is_ascii_alphanumeric(), inner)
}

fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_name(name),
        None => is_label_name(text),
    }
}

fn is_env_name(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    text.bytes().all(allowed) && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// The grammar of the distribution project, without its length limits.
fn is_image(text: &str) -> bool {
    let (name, digest) = text.split_once('@').map_or((text, None), |(n, d)| (n, Some(d)));
    let last_slash = name.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match name[last_slash..].split_once(':') {
        Some((last, tag)) => (&name[..last_slash + last.len()], Some(tag)),
        None => (name, None),
    };
    digest.is_none_or(is_digest) && tag.is_none_or(is_tag) && is_image_path(path)
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit()))
}

fn is_tag(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    (1..=128).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(['-', '.'])
}

fn is_image_path(path: &str) -> bool {
    let mut parts = path.split('/');
    let first = parts.next().unwrap_or_default();
    let first_is_host = path.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let first_ok = if first_is_host { is_registry(first) } else { is_path_part(first) };
    first_ok && parts.all(is_path_part)
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(h, p)| (h, Some(p)));
    is_dns_subdomain(&host.to_ascii_lowercase())
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_path_part(text: &str) -> bool {
    let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    !text.is_empty() && within(text, edge, |c| matches!(c, b'-' | b'_' | b'.'))
}

/// True when every byte is `edge` or `inner`, and the first and the last are `edge`.
fn within(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().all(|&c| edge(c) || inner(c))
        && [bytes.first(), bytes.last()].into_iter().all(|c| c.is_some_and(|&c| edge(c)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ingestion", true)]
    #[case("openmetadata/ingestion-base:1.5.0", true)]
    #[case("docker.getcollate.io/openmetadata/ingestion:latest", true)]
    #[case("registry.example.com:5000/a/b_c:v1", true)]
    #[case("localhost/a", true)]
    #[case(concat!("a/b@sha256:", "00000000000000000000000000000000", "00000000000000000000000000000000"), true)]
    #[case("", false)]
    #[case("Upper/case", false)]
    #[case("a//b", false)]
    #[case("a b", false)]
    #[case("a:", false)]
    #[case("registry:99999/a", false)]
    #[case("a@sha256:12", false)]
    fn image_references(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<Image>().is_ok(), valid, "{text}");
    }

    const DIGEST: &str = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[rstest]
    #[case("ingestion", "", None)]
    #[case("om/ingestion:1.12.14", "", Some("1.12.14"))]
    #[case("registry.example.com:5000/om/ingestion", "", None)]
    #[case("registry.example.com:5000/om/ingestion:1.12.14", "", Some("1.12.14"))]
    #[case("registry.example.com:5000/om/ingestion:1.12.14", DIGEST, Some("1.12.14"))]
    #[case("registry.example.com:5000/om/ingestion", DIGEST, None)]
    #[case("ingestion:latest", DIGEST, Some("latest"))]
    fn tags(#[case] name: &str, #[case] digest: &str, #[case] tag: Option<&str>) {
        let image: Image = format!("{name}{digest}").parse().unwrap();
        assert_eq!(image.tag(), tag, "{image}");
    }

    #[rstest]
    #[case("openmetadata-pipelines", true)]
    #[case("a", true)]
    #[case("", false)]
    #[case("-a", false)]
    #[case("A", false)]
    #[case("a.b", false)]
    #[case("a123456789012345678901234567890123456789012345678901234567890123", false)]
    fn namespaces(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<Namespace>().is_ok(), valid, "{text}");
    }

    #[rstest]
    #[case("prometheus.io/scrape", true)]
    #[case("zone", true)]
    #[case("/zone", false)]
    #[case("a b", false)]
    fn label_keys(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<QualifiedName>().is_ok(), valid, "{text}");
    }

    #[rstest]
    #[case("LOG_LEVEL", true)]
    #[case("1ST", false)]
    #[case("", false)]
    #[case("A=B", false)]
    fn environment_names(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<EnvName>().is_ok(), valid, "{text}");
    }

    proptest! {
        #[test]
        fn a_sanitised_label_value_is_valid(text in ".{0,200}") {
            let value = LabelValue::sanitised(&text);
            prop_assert!(is_label_value(value.as_str()), "{value}");
        }

        #[test]
        fn a_valid_label_value_stays(text in "[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?") {
            prop_assert_eq!(LabelValue::sanitised(&text).to_string(), text);
        }
    }
}
