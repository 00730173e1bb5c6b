//! Text from elsewhere that is shown on a terminal: names, messages and logs may hold characters that
//! move the cursor, set the clipboard, hide rows, or show a text in another order than it has.

use std::borrow::Cow;
use std::fmt::Write as _;

/// True for a character that a terminal or its reader would take for more than a letter.
#[must_use]
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Marks, embeddings, overrides and isolates of the direction of writing.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Further ends of lines, and characters of no width.
            | '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{feff}' | '\u{180e}'
            // Annotations and tags, which nothing shows.
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line without active characters: each is shown as `\u{1b}`.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Lines without active characters, except for tabs and the ends of lines.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_shown = |c: char| !is_active(c) || is_kept(c);
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if is_shown(c) {
            escaped.push(c);
        } else {
            // Nothing fails that is written to a String.
            let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
        }
        escaped
    });
    Cow::Owned(escaped)
}

/// JSON that reads as before and has no active characters, which only its strings can hold.
#[must_use]
pub fn json(text: &str) -> String {
    let is_kept = |c: char| !is_active(c) || c == '\n';
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if is_kept(c) {
            escaped.push(c);
        } else {
            for half in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{half:04x}");
            }
        }
        escaped
    })
}

/// A log that comes in pieces, without active characters and without bytes that are no text.
#[derive(Clone, Debug, Default)]
pub struct PrintableLog {
    /// Bytes of a character that is not complete, and a carriage return that may begin an end of line.
    rest: Vec<u8>,
}

impl PrintableLog {
    /// What can be shown of the next piece.
    #[must_use]
    pub fn push(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(piece);
        let complete = bytes.len() - incomplete(&bytes);
        self.rest = bytes.split_off(complete);
        shown(&bytes)
    }

    /// What is left at the end of the log.
    #[must_use]
    pub fn finish(&mut self) -> String {
        shown(&std::mem::take(&mut self.rest))
    }
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    lines(&text.replace("\r\n", "\n")).into_owned()
}

/// How many bytes at the end need what follows them.
fn incomplete(bytes: &[u8]) -> usize {
    if bytes.ends_with(b"\r") {
        return 1;
    }
    let is_continuation = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
    let continued = bytes.iter().rev().take(3).take_while(is_continuation).count();
    let begins = bytes.len().checked_sub(continued + 1).and_then(|at| bytes.get(at));
    let length = match begins {
        Some(0xC2..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF4) => 4,
        _ => 0,
    };
    if length > continued + 1 { continued + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::title("p\x1b]0;pwned\x07", "p\\u{1b}]0;pwned\\u{7}")]
    #[case::clipboard("\x1b]52;c;cm0gLXJm\x07", "\\u{1b}]52;c;cm0gLXJm\\u{7}")]
    #[case::eight_bits("\u{9b}31m", "\\u{9b}31m")]
    #[case::other_direction("a\u{202e}txt.exe", "a\\u{202e}txt.exe")]
    #[case::hidden("a\u{e0041}b", "a\\u{e0041}b")]
    #[case::harmless("größer 日本 👩 ok", "größer 日本 👩 ok")]
    fn what_is_shown(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(line(text), expected);
        assert_eq!(lines(&format!("{text}\n\tx")), format!("{expected}\n\tx"));
    }

    #[test]
    fn ends_of_lines_stay_and_other_returns_do_nothing() {
        let mut log = PrintableLog::default();
        let shown = log.push(b"a\r") + &log.push(b"\nb\rc\n") + &log.push(b"d\r") + &log.finish();
        assert_eq!(shown, "a\nb\\u{d}c\nd\\u{d}");
    }

    proptest! {
        #[test]
        fn nothing_active_is_shown(text in any::<String>(), more in "[\\x00-\\x1f\\x7f-\\x9f\\u{200b}-\\u{206f}]{0,8}") {
            let text = text + &more;
            prop_assert!(!line(&text).chars().any(is_active));
            prop_assert!(!lines(&text).chars().any(|c| is_active(c) && !matches!(c, '\n' | '\t')));
            let document = serde_json::Value::from(text.as_str());
            let shown = json(&document.to_string());
            prop_assert!(!shown.chars().any(is_active));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document);
        }

        #[test]
        fn a_log_does_not_depend_on_its_pieces(log in prop::collection::vec(any::<u8>(), 0..60), text in any::<String>(), piece in 1usize..7) {
            let log = [log.as_slice(), text.as_bytes()].concat();
            let mut printable = PrintableLog::default();
            let mut shown: String = log.chunks(piece).map(|piece| printable.push(piece)).collect();
            shown += &printable.finish();
            prop_assert!(!shown.chars().any(|c| is_active(c) && !matches!(c, '\n' | '\t')));
            if str::from_utf8(&log).is_ok() {
                prop_assert_eq!(shown, super::shown(&log));
            }
        }
    }
}
