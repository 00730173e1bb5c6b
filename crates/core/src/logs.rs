//! Pages of a run's log (docs/adr/0034-log-pages.md): a fixed size, cut at a line where one ends
//! within the page and at a character otherwise, so that a page never changes once it is
//! full. Reading needs the memory of one page, whatever the size of the log. The same holds for the
//! end of a log, which goes into diagnostics.

use std::collections::BTreeMap;

use crate::PipelineType;

/// Most bytes in a page: 1 MiB less what JSON and headers may add.
pub const PAGE_BYTES: usize = 983_040;

/// One page, and its place among the pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// The text.
    pub text: String,
    /// Number of pages that the log has now.
    pub total: usize,
    /// Index of the page after this one, when there is one.
    pub after: Option<usize>,
}

impl LogPage {
    /// The answer that OpenMetadata expects: the text under the type's task key, the rest as
    /// strings, `after` only when there is a further page.
    #[must_use]
    pub fn into_answer(self, pipeline_type: PipelineType) -> BTreeMap<String, String> {
        let mut answer = BTreeMap::from([
            (pipeline_type.task_key().to_owned(), self.text),
            ("total".to_owned(), self.total.to_string()),
        ]);
        if let Some(after) = self.after {
            answer.insert("after".to_owned(), after.to_string());
        }
        answer
    }
}

/// Why there is no such page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Not a page number at all.
    #[error("after = {0:?}: must be a page number from 0")]
    NotANumber(String),
    /// Behind the last page.
    #[error("after = {index}: the log has {total} pages, the last is {}", total - 1)]
    BehindTheEnd {
        /// The page asked for.
        index: usize,
        /// How many there are.
        total: usize,
    },
}

/// The page that `after` asks for; nothing is the first.
///
/// # Errors
/// [`PageError::NotANumber`].
pub fn page_index(after: Option<&str>) -> Result<usize, PageError> {
    match after {
        None | Some("") => Ok(0),
        Some(text) => text.parse().map_err(|_| PageError::NotANumber(text.to_owned())),
    }
}

/// Picks one page out of a log that comes in pieces.
#[derive(Debug)]
pub struct LogPager {
    wanted: usize,
    /// Index of the page that `buffer` belongs to.
    current: usize,
    buffer: Vec<u8>,
    found: Option<Vec<u8>>,
}

impl LogPager {
    /// Looks for page `wanted`.
    #[must_use]
    pub const fn new(wanted: usize) -> Self {
        Self { wanted, current: 0, buffer: Vec::new(), found: None }
    }

    /// Takes the next piece of the log.
    pub fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            // One byte over a page shows that the page is full.
            let room = PAGE_BYTES + 1 - self.buffer.len();
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.buffer.extend_from_slice(now);
            piece = later;
            if self.buffer.len() > PAGE_BYTES {
                self.end_page();
            }
        }
    }

    /// Ends the log.
    ///
    /// # Errors
    /// [`PageError::BehindTheEnd`].
    pub fn finish(mut self) -> Result<LogPage, PageError> {
        let total = self.current + 1;
        if self.current == self.wanted {
            self.found = Some(std::mem::take(&mut self.buffer));
        }
        let Some(bytes) = self.found else {
            return Err(PageError::BehindTheEnd { index: self.wanted, total });
        };
        let after = Some(self.wanted + 1).filter(|after| *after < total);
        Ok(LogPage { text: String::from_utf8_lossy(&bytes).into_owned(), total, after })
    }

    fn end_page(&mut self) {
        let rest = self.buffer.split_off(cut(&self.buffer[..PAGE_BYTES]));
        let page = std::mem::replace(&mut self.buffer, rest);
        if self.current == self.wanted {
            self.found = Some(page);
        }
        self.current += 1;
    }
}

/// Where a full page ends: after its last line, or before a character that does not fit.
pub(crate) fn cut(page: &[u8]) -> usize {
    if let Some(newline) = page.iter().rposition(|&byte| byte == b'\n') {
        return newline + 1;
    }
    let longest_character = 4;
    let start_of_last =
        page.iter().rev().take(longest_character).position(|&b| !is_continuation(b));
    let Some(from_end) = start_of_last else {
        return page.len();
    };
    let last = page.len() - 1 - from_end;
    match std::str::from_utf8(&page[last..]) {
        Err(incomplete) if incomplete.error_len().is_none() => last,
        _ => page.len(),
    }
}

const fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Keeps the end of a log that comes in pieces: whole lines, within a number of bytes. Needs twice
/// that memory at most, whatever the size of the log.
#[derive(Debug)]
pub struct LogTail {
    most: usize,
    buffer: Vec<u8>,
    is_cut: bool,
}

impl LogTail {
    /// Keeps at most `most` bytes.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { most, buffer: Vec::new(), is_cut: false }
    }

    /// Takes the next piece of the log.
    pub fn push(&mut self, piece: &[u8]) {
        for part in piece.chunks(self.most.max(1)) {
            self.buffer.extend_from_slice(part);
            if self.buffer.len() > self.most {
                self.is_cut = true;
                self.buffer.drain(..self.buffer.len() - self.most);
            }
        }
    }

    /// Ends the log. What was cut begins with a whole line, or a whole character if it has no lines.
    #[must_use]
    pub fn finish(self) -> String {
        if !self.is_cut {
            return String::from_utf8_lossy(&self.buffer).into_owned();
        }
        let newline = self.buffer.iter().position(|&byte| byte == b'\n');
        let start = newline.map(|at| at + 1).filter(|start| *start < self.buffer.len());
        let character = || self.buffer.iter().position(|&byte| !is_continuation(byte));
        let start = start.or_else(character).unwrap_or_default();
        String::from_utf8_lossy(&self.buffer[start..]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn page(log: &[u8], index: usize) -> Result<LogPage, PageError> {
        let mut pager = LogPager::new(index);
        for piece in log.chunks(64 * 1024 + 7) {
            pager.push(piece);
        }
        pager.finish()
    }

    fn pages(log: &[u8]) -> Vec<String> {
        let total = page(log, 0).unwrap().total;
        (0..total).map(|index| page(log, index).unwrap().text).collect()
    }

    #[test]
    fn an_empty_log_is_one_empty_page() {
        assert_eq!(page(b"", 0), Ok(LogPage { text: String::new(), total: 1, after: None }));
    }

    #[rstest]
    #[case(PAGE_BYTES, 1)]
    #[case(PAGE_BYTES + 1, 2)]
    #[case(3 * PAGE_BYTES, 3)]
    fn pages_of_a_log_without_lines_are_full(#[case] length: usize, #[case] total: usize) {
        assert_eq!(page(&vec![b'x'; length], 0).unwrap().total, total);
    }

    #[test]
    fn the_last_page_has_no_successor() {
        let log = vec![b'x'; PAGE_BYTES + 1];
        assert_eq!(page(&log, 0).unwrap().after, Some(1));
        assert_eq!(page(&log, 1).unwrap().after, None);
        assert_eq!(page(&log, 2), Err(PageError::BehindTheEnd { index: 2, total: 2 }));
    }

    #[test]
    fn a_page_ends_with_a_line() {
        let log = "line of text\n".repeat(PAGE_BYTES / 13 + 10);
        assert!(pages(log.as_bytes()).iter().all(|page| page.ends_with('\n')));
    }

    #[test]
    fn a_full_page_never_changes() {
        let log = "ä1\n".repeat(PAGE_BYTES);
        let before = page(&log.as_bytes()[..PAGE_BYTES + 4], 0).unwrap().text;
        assert_eq!(page(log.as_bytes(), 0).unwrap().text, before);
    }

    #[rstest]
    #[case(None, Ok(0))]
    #[case(Some(""), Ok(0))]
    #[case(Some("3"), Ok(3))]
    #[case(Some("-1"), Err(PageError::NotANumber("-1".into())))]
    #[case(Some("x"), Err(PageError::NotANumber("x".into())))]
    fn page_numbers(#[case] after: Option<&str>, #[case] expected: Result<usize, PageError>) {
        assert_eq!(page_index(after), expected);
    }

    #[test]
    fn the_answer_is_strings_under_the_task_key() {
        let answer = LogPage { text: "t".into(), total: 5, after: Some(1) }
            .into_answer(PipelineType::Profiler);
        assert_eq!(
            serde_json::json!(answer),
            serde_json::json!({ "profiler_task": "t", "total": "5", "after": "1" })
        );
    }

    fn tail(log: &[u8], most: usize, piece: usize) -> String {
        let mut tail = LogTail::new(most);
        log.chunks(piece).for_each(|piece| tail.push(piece));
        tail.finish()
    }

    #[rstest]
    #[case::short("one\ntwo\n", 100, "one\ntwo\n")]
    #[case::fits("one\ntwo\n", 8, "one\ntwo\n")]
    #[case::whole_lines("one\ntwo\nthree\n", 9, "three\n")]
    #[case::one_long_line("abcdef", 4, "cdef")]
    #[case::whole_characters("äöü", 3, "ü")]
    #[case::long_line_with_an_end("abcdef\n", 4, "def\n")]
    #[case::empty("", 4, "")]
    fn the_end_of_a_log(#[case] log: &str, #[case] most: usize, #[case] expected: &str) {
        for piece in [1, 3, 100] {
            assert_eq!(tail(log.as_bytes(), most, piece), expected, "in pieces of {piece}");
        }
    }

    proptest! {
        #[test]
        fn a_tail_is_the_end_within_its_bytes(
            log in "[a-z\\nä😀]{0,60}", most in 4usize..40, piece in 1usize..70,
        ) {
            let tail = tail(log.as_bytes(), most, piece);
            prop_assert!(tail.len() <= most && log.ends_with(&tail), "{tail:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn pages_join_to_the_log(unit in "[a-z\\nä€😀]{1,40}") {
            let log = unit.repeat(2 * PAGE_BYTES / unit.len() + 1);
            let pages = pages(log.as_bytes());
            prop_assert!(pages.iter().all(|page| page.len() <= PAGE_BYTES));
            prop_assert_eq!(pages.concat(), log);
        }
    }
}
