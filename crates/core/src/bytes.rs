//! Amounts of memory.

use std::fmt;

/// An amount of memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    /// The quantity that Kubernetes reads, in the largest unit in which it is a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["Ti", "Gi", "Mi", "Ki"];
        let sizes = (1..=4_u32).rev().map(|power| 1024_u64.pow(power));
        let mut units = UNITS.into_iter().zip(sizes);
        match units.find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const GIB: u64 = 1 << 30;

    #[rstest]
    #[case(0, "0")]
    #[case(1500, "1500")]
    #[case(2048, "2Ki")]
    #[case(1536 << 20, "1536Mi")]
    #[case(8 * GIB, "8Gi")]
    #[case(1024 * GIB, "1Ti")]
    fn bytes_are_a_quantity_of_kubernetes(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(Bytes(bytes).to_string(), text);
    }

    proptest! {
        /// The text is read again as the same amount.
        #[test]
        fn the_quantity_is_exact(bytes in 0_u64..1 << 50) {
            let read: crate::Quantity = Bytes(bytes).to_string().parse().unwrap();
            prop_assert_eq!(read.bytes(), Some(Bytes(bytes)));
        }
    }
}
