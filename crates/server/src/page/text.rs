//! Names, messages and times as people can read them.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

/// A text that others wrote. Characters that would not show, or that would turn the order of what
/// follows, are named instead: a name must not look like another one.
pub(super) fn visible(text: &str) -> Markup {
    html! {
        @for piece in pieces(text) {
            @match piece {
                Piece::Plain(text) => (text),
                Piece::Mark(c) => span.mark title="a character that does not show" { (name_of(c)) }
            }
        }
    }
}

/// The same where there can be no markup: in titles and attributes.
pub(super) fn visible_text(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { name_of(c) } else { c.to_string() }).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Plain(&'t str),
    Mark(char),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut begin) = (Vec::new(), 0);
    for (at, c) in text.char_indices().filter(|(_, c)| is_hidden(*c)) {
        if begin < at {
            pieces.push(Piece::Plain(&text[begin..at]));
        }
        pieces.push(Piece::Mark(c));
        begin = at + c.len_utf8();
    }
    if begin < text.len() {
        pieces.push(Piece::Plain(&text[begin..]));
    }
    pieces
}

/// Control characters, those of the direction of text, and those without width.
const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn name_of(c: char) -> String {
    format!("[U+{:04X}]", u32::from(c))
}

/// So long, in the two units that matter.
pub(super) fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => with_rest(minutes, "min", seconds % 60, "s"),
        (0, _, _) => with_rest(hours, "h", minutes % 60, "min"),
        _ => with_rest(days, "d", hours % 24, "h"),
    }
}

fn with_rest(count: i64, unit: &str, rest: i64, of: &str) -> String {
    if rest == 0 { format!("{count} {unit}") } else { format!("{count} {unit} {rest} {of}") }
}

/// A time as seen from another: "3 d ago", "in 2 h". The whole time is in its title.
pub(super) fn when(time: Timestamp, now: Timestamp) -> Markup {
    let distance = now.duration_since(time);
    let whole = exactly(time);
    let words = match distance {
        past if past >= SignedDuration::ZERO => format!("{} ago", short(past)),
        future => format!("in {}", short(-future)),
    };
    html! { time datetime=(time.to_string()) title=(whole) { (words) } }
}

/// So long, in one unit.
fn short(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A time with its zone.
pub(super) fn exactly(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("plain ü 表", "plain ü 表")]
    #[case("<script>&", "&lt;script&gt;&amp;")]
    #[case(
        "a\u{202e}b",
        "a<span class=\"mark\" title=\"a character that does not show\">[U+202E]</span>b"
    )]
    fn what_others_wrote_is_shown_as_it_is(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(visible(text).into_string(), expected);
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            let shown = visible(&text).into_string();
            prop_assert!(!shown.chars().any(is_hidden));
            prop_assert!(!visible_text(&text).chars().any(is_hidden));
        }
    }

    #[rstest]
    #[case(59, "59 s")]
    #[case(120, "2 min")]
    #[case(3_725, "1 h 2 min")]
    #[case(180_000, "2 d 2 h")]
    #[case(-5, "0 s")]
    fn durations(#[case] seconds: i64, #[case] expected: &str) {
        assert_eq!(span(SignedDuration::from_secs(seconds)), expected);
    }

    #[rstest]
    #[case(10, "in 10 s")]
    #[case(-259_200, "3 d ago")]
    fn times_are_seen_from_now(#[case] offset: i64, #[case] expected: &str) {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let time = now.checked_add(SignedDuration::from_secs(offset)).unwrap();
        assert!(when(time, now).into_string().contains(&format!(">{expected}<")));
    }
}
