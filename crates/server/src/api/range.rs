//! Which part of a log a request asks for (RFC 9110 §14), and that part of a log that comes in pieces.

use http::HeaderMap;
use http::header::{IF_RANGE, RANGE};

/// A part of something whose length is not known yet, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteRange {
    /// From a byte to another, both included; to the end when that is not said.
    From(usize, Option<usize>),
    /// So many of the last bytes.
    Last(usize),
}

impl ByteRange {
    /// The one part that a request asks for. As RFC 9110 wants it, what is no range of bytes is
    /// passed by; several ranges are too, and a range of what may have changed since.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        if headers.contains_key(IF_RANGE) {
            return None;
        }
        let (unit, range) = headers.get(RANGE)?.to_str().ok()?.split_once('=')?;
        let (first, last) = range.trim().split_once('-')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        match (first, last) {
            ("", last) => Some(Self::Last(number(last)?)),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// First and last byte of it; `None` when a log of this length has none of it.
    pub(super) fn within(self, length: usize) -> Option<(usize, usize)> {
        let end = length.checked_sub(1)?;
        match self {
            Self::From(first, last) => {
                (first <= end).then(|| (first, last.map_or(end, |last| last.min(end))))
            }
            Self::Last(0) => None,
            Self::Last(count) => Some((length.saturating_sub(count), end)),
        }
    }
}

/// Digits as a number; one that is too large is larger than every log.
fn number(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(usize::MAX))
}

/// What is still to be passed by, and then to be taken, of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    before: usize,
    left: usize,
}

impl Cut {
    /// From the first byte to the last, both included.
    pub(super) const fn new((first, last): (usize, usize)) -> Self {
        Self { before: first, left: last - first + 1 }
    }

    /// What of the next piece is wanted; `None` when nothing more is.
    pub(super) fn take(&mut self, mut piece: Vec<u8>) -> Option<Vec<u8>> {
        if self.left == 0 {
            return None;
        }
        let before = self.before.min(piece.len());
        piece.drain(..before);
        piece.truncate(self.left);
        self.before -= before;
        self.left -= piece.len();
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("bytes=0-499", Some(ByteRange::From(0, Some(499))))]
    #[case("Bytes = 5-", Some(ByteRange::From(5, None)))]
    #[case("bytes=-7", Some(ByteRange::Last(7)))]
    #[case("bytes=5-99999999999999999999999999", Some(ByteRange::From(5, Some(usize::MAX))))]
    #[case("bytes=5-4", None)]
    #[case("bytes=0-1,4-5", None)]
    #[case("bytes=-", None)]
    #[case("bytes=+1-2", None)]
    #[case("lines=1-2", None)]
    #[case("nonsense", None)]
    fn what_is_no_range_is_passed_by(#[case] value: &str, #[case] expected: Option<ByteRange>) {
        let headers = HeaderMap::from_iter([(RANGE, value.parse().unwrap())]);
        assert_eq!(ByteRange::of(&headers), expected);
        let mut conditional = headers;
        conditional.insert(IF_RANGE, "\"tag\"".parse().unwrap());
        assert_eq!(ByteRange::of(&conditional), None);
    }

    #[rstest]
    #[case(ByteRange::From(0, Some(99)), 10, Some((0, 9)))]
    #[case(ByteRange::From(3, Some(5)), 10, Some((3, 5)))]
    #[case(ByteRange::From(9, None), 10, Some((9, 9)))]
    #[case(ByteRange::From(10, None), 10, None)]
    #[case(ByteRange::From(0, None), 0, None)]
    #[case(ByteRange::Last(4), 10, Some((6, 9)))]
    #[case(ByteRange::Last(40), 10, Some((0, 9)))]
    #[case(ByteRange::Last(0), 10, None)]
    fn a_range_ends_with_the_log(
        #[case] range: ByteRange,
        #[case] length: usize,
        #[case] expected: Option<(usize, usize)>,
    ) {
        assert_eq!(range.within(length), expected);
    }

    proptest! {
        #[test]
        fn a_cut_is_the_part_whatever_the_pieces(
            log in proptest::collection::vec(any::<u8>(), 1..200),
            piece in 1usize..50, first in 0usize..200, count in 1usize..200,
        ) {
            let Some((first, last)) =
                ByteRange::From(first, Some(first + count)).within(log.len()) else { return Ok(()) };
            let mut cut = Cut::new((first, last));
            let taken: Vec<u8> =
                log.chunks(piece).map_while(|piece| cut.take(piece.to_vec())).flatten().collect();
            prop_assert_eq!(&taken[..], &log[first..=last]);
        }
    }
}
