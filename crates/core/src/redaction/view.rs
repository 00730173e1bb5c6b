//! A text as it is, and as it reads without the escapes of URLs, JSON, Python and HTML, with the
//! place in the text for each byte.

use std::borrow::Cow;
use std::ops::Range;

/// How often a text may have been escaped: JSON that is a string of JSON has two.
const ROUNDS: usize = 3;

/// One way to read a text.
pub(super) struct View<'t> {
    bytes: Cow<'t, [u8]>,
    /// For each byte its offset in the text, and the end; `None` where nothing was decoded.
    origins: Option<Vec<usize>>,
}

/// What reads the escape that a text begins with: what it means, and its length.
type Decode = fn(&[u8]) -> Option<(Decoded, usize)>;

/// The bytes of one character.
type Decoded = ([u8; 4], usize);

impl<'t> View<'t> {
    /// Every way to read a text.
    pub(super) fn all_of(text: &'t str) -> Vec<Self> {
        let raw = Self { bytes: Cow::Borrowed(text.as_bytes()), origins: None };
        let mut views = vec![raw];
        let decoders: [(u8, Decode); 3] = [(b'%', percent), (b'\\', backslash), (b'&', html)];
        for (mark, decode) in decoders {
            let mut at = 0;
            for _ in 0..ROUNDS {
                let Some(view) = views[at].decoded(mark, decode) else { break };
                views.push(view);
                at = views.len() - 1;
            }
        }
        views
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The range of a part in the text.
    pub(super) fn origin(&self, part: Range<usize>) -> Range<usize> {
        match &self.origins {
            None => part,
            Some(origins) => {
                let at = |index: usize| origins.get(index).copied().unwrap_or_default();
                at(part.start)..at(part.end)
            }
        }
    }

    /// This view without one layer of escapes; `None` where it has none.
    fn decoded<'d>(&self, mark: u8, decode: Decode) -> Option<View<'d>> {
        if !self.bytes.contains(&mark) {
            return None;
        }
        let (mut bytes, mut origins) = (Vec::with_capacity(self.bytes.len()), Vec::new());
        let mut at = 0;
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            let escape = if rest[0] == mark { decode(rest) } else { None };
            let ((decoded, size), length) = escape.unwrap_or((([rest[0], 0, 0, 0], 1), 1));
            bytes.extend_from_slice(&decoded[..size]);
            origins.extend(std::iter::repeat_n(self.origin(at..at).start, size));
            at += length;
        }
        origins.push(self.origin(at..at).start);
        let is_same = bytes.len() == self.bytes.len();
        (!is_same).then_some(View { bytes: bytes.into(), origins: Some(origins) })
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

fn character(code: u32) -> Option<Decoded> {
    let mut bytes = [0; 4];
    let size = char::from_u32(code)?.encode_utf8(&mut bytes).len();
    Some((bytes, size))
}

fn byte(byte: u8) -> Decoded {
    ([byte, 0, 0, 0], 1)
}

/// `%40`.
fn percent(text: &[u8]) -> Option<(Decoded, usize)> {
    let value = u8::try_from(hex(text.get(1..3)?)?).ok()?;
    Some((byte(value), 3))
}

/// `\"`, `\n`, `\u00e4`, `\x40`. JSON writes characters outside of the first plane as two halves.
fn backslash(text: &[u8]) -> Option<(Decoded, usize)> {
    let plain = |value: u8| Some((byte(value), 2));
    match text.get(1)? {
        b'n' => plain(b'\n'),
        b't' => plain(b'\t'),
        b'r' => plain(b'\r'),
        b'b' => plain(8),
        b'f' => plain(12),
        b'x' => Some((character(hex(text.get(2..4)?)?)?, 4)),
        b'U' => Some((character(hex(text.get(2..10)?)?)?, 10)),
        b'u' => {
            let high = hex(text.get(2..6)?)?;
            if !(0xD800..0xDC00).contains(&high) {
                return Some((character(high)?, 6));
            }
            let low = text.get(6..8).filter(|mark| *mark == b"\\u");
            let low = low.and_then(|_| text.get(8..12))?;
            let low = hex(low)?.checked_sub(0xDC00)?;
            Some((character(0x1_0000 + ((high - 0xD800) << 10) + low)?, 12))
        }
        other => plain(*other),
    }
}

/// `&amp;`, `&#39;`, `&#x27;`.
fn html(text: &[u8]) -> Option<(Decoded, usize)> {
    let end = text.iter().take(12).position(|byte| *byte == b';')?;
    let decoded = match text.get(1..end)? {
        b"amp" => byte(b'&'),
        b"lt" => byte(b'<'),
        b"gt" => byte(b'>'),
        b"quot" => byte(b'"'),
        b"apos" => byte(b'\''),
        [b'#', b'x' | b'X', digits @ ..] => character(hex(digits)?)?,
        [b'#', digits @ ..] => character(str::from_utf8(digits).ok()?.parse().ok()?)?,
        _ => return None,
    };
    Some((decoded, end + 1))
}
