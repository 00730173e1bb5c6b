//! A run as people name it.

use std::str::FromStr;

use ompipe_core::RunId;

/// Fewest digits that stand for a run.
const SHORTEST: usize = 4;

/// A run by its id, or by the first digits of it, as in the names of its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunRef {
    Id(RunId),
    Prefix(String),
}

impl FromStr for RunRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let digits = text.to_lowercase();
        let is_like = digits.chars().all(|digit| digit.is_ascii_hexdigit() || digit == '-');
        if is_like && (SHORTEST..36).contains(&digits.len()) && digits.starts_with(|c| c != '-') {
            return Ok(Self::Prefix(digits));
        }
        Err(
            "must be a UUID such as a1b2c3d4-e5f6-7890-abcd-ef1234567890, or its first digits, at least 4",
        )
    }
}

impl RunRef {
    /// The digits that are known.
    pub(crate) fn digits(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Prefix(digits) => digits.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_or_the_first_digits_of_one() {
        let id = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";
        assert_eq!(id.parse(), Ok(RunRef::Id(id.parse().unwrap())));
        assert_eq!("A1B2c3d4".parse(), Ok(RunRef::Prefix("a1b2c3d4".to_owned())));
        assert_eq!("a1b2c3d4-e".parse(), Ok(RunRef::Prefix("a1b2c3d4-e".to_owned())));
        for bad in ["", "a1b", "seven", "-1b2", "a1b2c3d4-e5f6-7890-abcd-ef12345678901"] {
            assert!(bad.parse::<RunRef>().is_err(), "{bad}");
        }
    }
}
