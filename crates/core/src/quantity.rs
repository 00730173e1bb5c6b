//! Kubernetes quantities (`500m`, `4Gi`): checked and compared, kept as written.

use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;

use crate::Bytes;

/// A resource amount that Kubernetes will accept.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    written: String,
    amount: f64,
}

impl Quantity {
    /// True when this is more than `other`.
    #[must_use]
    pub fn exceeds(&self, other: &Self) -> bool {
        self.amount > other.amount
    }

    /// The amount of memory in whole bytes; `None` for more than Kubernetes takes.
    #[must_use]
    pub fn bytes(&self) -> Option<Bytes> {
        // 2^63: Kubernetes counts bytes in 64 bits with a sign.
        const TOO_MANY: f64 = 9_223_372_036_854_775_808.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the value is checked to fit, and never negative"
        )]
        (self.amount < TOO_MANY).then(|| Bytes(self.amount.ceil() as u64))
    }

    /// The form that goes on an object.
    #[must_use]
    pub fn to_kubernetes(&self) -> Written {
        Written(self.written.clone())
    }
}

impl FromStr for Quantity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const REMEDY: &str = "must be a quantity such as 500m, 2, 512Mi or 4Gi";
        let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (digits, suffix) = text.split_at(digits_end);
        let number: f64 = digits.parse().map_err(|_| REMEDY)?;
        let amount = number * factor(suffix).ok_or(REMEDY)?;
        Ok(Self { written: text.to_owned(), amount })
    }
}

/// What a suffix multiplies by (Kubernetes: *Quantity*).
fn factor(suffix: &str) -> Option<f64> {
    const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(power) = (-3i32..).zip(DECIMAL).find_map(|(p, s)| (s == suffix).then_some(p)) {
        return Some(1000f64.powi(power));
    }
    if let Some(power) = (1i32..).zip(BINARY).find_map(|(p, s)| (s == suffix).then_some(p)) {
        return Some(1024f64.powi(power));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    exponent.parse::<i8>().ok().map(|exponent| 10f64.powi(exponent.into()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("500m", 0.5)]
    #[case("2", 2.0)]
    #[case("0.1", 0.1)]
    #[case("1Gi", 1_073_741_824.0)]
    #[case("4G", 4e9)]
    #[case("1e3", 1000.0)]
    #[case("1E", 1e18)]
    fn accepts(#[case] text: &str, #[case] amount: f64) {
        let parsed: Quantity = text.parse().unwrap();
        assert!((parsed.amount - amount).abs() < f64::EPSILON * amount, "{text}");
    }

    #[rstest]
    fn refuses(#[values("", "Gi", "1 Gi", "1gi", "-1", "1.2.3", "two", "1e", ".")] text: &str) {
        assert!(text.parse::<Quantity>().is_err(), "{text}");
    }

    #[rstest]
    #[case("1500", Some(1500))]
    #[case("1.5Ki", Some(1536))]
    #[case("100m", Some(1))]
    #[case("16Gi", Some(16 << 30))]
    #[case("16Ei", None)]
    fn memory_has_whole_bytes(#[case] text: &str, #[case] bytes: Option<u64>) {
        assert_eq!(text.parse::<Quantity>().unwrap().bytes(), bytes.map(Bytes));
    }

    #[test]
    fn compares_across_units() {
        let parse = |text: &str| text.parse::<Quantity>().unwrap();
        assert!(parse("2Gi").exceeds(&parse("1500Mi")));
        assert!(!parse("500m").exceeds(&parse("0.5")));
    }
}
