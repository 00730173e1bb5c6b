//! Cuts a log into the pages that [`crate::logs::LogPager`] finds in it, while it is written.

use crate::logs::{PAGE_BYTES, cut};

/// What follows in a log that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Text of the current page.
    Text(&'t [u8]),
    /// The current page is full.
    EndOfPage,
}

/// Cuts a log into pages. Keeps the line that is not complete, at most a page of it.
#[derive(Debug, Default)]
pub struct PageCutter {
    /// Bytes of the current page that were handed out.
    length: usize,
    /// The line that is not complete.
    pending: Vec<u8>,
}

impl PageCutter {
    /// Goes on in a page that has `length` bytes.
    #[must_use]
    pub const fn within(length: usize) -> Self {
        Self { length, pending: Vec::new() }
    }

    /// Takes the next bytes of the log.
    pub fn push(&mut self, text: &[u8], mut sink: impl FnMut(Piece<'_>)) {
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            for part in line.chunks(PAGE_BYTES) {
                self.pending.extend_from_slice(part);
                self.settle(&mut sink);
            }
        }
    }

    /// Ends a part of the log: what is left of a line goes into the current page.
    pub fn finish(&mut self, mut sink: impl FnMut(Piece<'_>)) {
        if !self.pending.is_empty() {
            self.hand_out(self.pending.len(), &mut sink);
        }
    }

    fn settle(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        while self.length + self.pending.len() > PAGE_BYTES {
            if self.length == 0 {
                self.hand_out(cut(&self.pending[..PAGE_BYTES]), sink);
            }
            sink(Piece::EndOfPage);
            self.length = 0;
        }
        if self.pending.last() == Some(&b'\n') {
            self.hand_out(self.pending.len(), sink);
        }
    }

    fn hand_out(&mut self, length: usize, sink: &mut impl FnMut(Piece<'_>)) {
        sink(Piece::Text(&self.pending[..length]));
        self.pending.drain(..length);
        self.length += length;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logs::LogPager;

    fn pages(log: &[u8], piece: usize) -> Vec<String> {
        let (mut done, mut page) = (Vec::new(), Vec::new());
        let mut take = |piece: Piece<'_>| match piece {
            Piece::Text(text) => page.extend_from_slice(text),
            Piece::EndOfPage => done.push(std::mem::take(&mut page)),
        };
        let mut cutter = PageCutter::default();
        log.chunks(piece).for_each(|piece| cutter.push(piece, &mut take));
        cutter.finish(&mut take);
        done.push(page);
        done.iter().map(|page| String::from_utf8_lossy(page).into_owned()).collect()
    }

    fn pages_of_pager(log: &[u8]) -> Vec<String> {
        let page = |index| {
            let mut pager = LogPager::new(index);
            pager.push(log);
            pager.finish().unwrap()
        };
        (0..page(0).total).map(|index| page(index).text).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_pages_are_those_that_a_reader_of_the_whole_log_finds(
            unit in "[a-z\\nä😀]{1,40}",
            long in 0..3 * PAGE_BYTES,
            after in any::<bool>(),
            piece in 1000usize..400_000,
        ) {
            let lines = unit.repeat(PAGE_BYTES / unit.len() + 100);
            let long = "x".repeat(long);
            let log = if after { [lines, long].concat() } else { [long, lines].concat() };
            prop_assert!(pages(log.as_bytes(), piece) == pages_of_pager(log.as_bytes()));
        }
    }
}
