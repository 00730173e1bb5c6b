//! Fully qualified names, built and quoted as OpenMetadata does.
//!
//! An FQN joins names with dots: `shop_pg.shop.sales.orders`. A name that has a dot itself is put
//! into double quotes, so that `"shop.pg".shop` can be told from `shop.pg.shop`. A double quote
//! inside a name has no spelling at all; OpenMetadata refuses such a name.

/// A name that no FQN can be built from.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name `{0}`: a name must not be empty, span lines or have a double quote inside")]
pub struct InvalidName(String);

/// One name as it appears inside an FQN.
///
/// A name that comes quoted already keeps its quotes only where it needs them.
pub fn quote(name: &str) -> Result<String, InvalidName> {
    let bare = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(name);
    if bare.is_empty() || bare.contains(['"', '\n']) {
        return Err(InvalidName(name.to_owned()));
    }
    Ok(if bare.contains('.') { format!("\"{bare}\"") } else { bare.to_owned() })
}

/// The FQN of `name` under `parent`, or of a root entity without one.
pub fn fqn(parent: Option<&str>, name: &str) -> Result<String, InvalidName> {
    let quoted = quote(name)?;
    Ok(parent.map_or_else(|| quoted.clone(), |parent| format!("{parent}.{quoted}")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{fqn, quote};

    #[rstest]
    #[case("shop_pg", "shop_pg")]
    #[case("shop.pg", "\"shop.pg\"")]
    #[case("\"shop.pg\"", "\"shop.pg\"")]
    #[case("\"shop_pg\"", "shop_pg")]
    #[case("größe 1/2", "größe 1/2")]
    fn names_are_quoted_only_when_they_have_a_dot(#[case] name: &str, #[case] quoted: &str) {
        assert_eq!(quote(name).unwrap(), quoted);
    }

    #[rstest]
    #[case("")]
    #[case("\"")]
    #[case("\"\"")]
    #[case("a\"b")]
    #[case("a\"b.c")]
    #[case("a\nb")]
    fn names_without_a_spelling_are_refused(#[case] name: &str) {
        assert!(quote(name).unwrap_err().to_string().contains("invalid name"));
    }

    #[test]
    fn an_fqn_quotes_each_part_by_itself() {
        let service = fqn(None, "shop.pg").unwrap();
        assert_eq!(fqn(Some(&service), "nightly.run").unwrap(), "\"shop.pg\".\"nightly.run\"");
        assert_eq!(fqn(Some("shop_pg"), "nightly").unwrap(), "shop_pg.nightly");
    }
}
