//! Masks a log line by line, whatever the pieces that it comes in: who reads it while it is written
//! and who reads it from the archive get the same text.

use std::sync::Arc;

use crate::redaction;
use crate::report::Recipient;

/// Longest line that is masked at once; a longer one is masked in parts.
const LONGEST: usize = 256 << 10;
/// How much of such a part is kept for the next one: a secret may cross the border.
const OVERLAP: usize = 16 << 10;

/// What a mask hides.
#[derive(Clone, Debug)]
enum Hidden {
    /// Nothing: the setting says so.
    Nothing,
    /// The secrets of the run's config.
    Secrets(Arc<Recipient>),
    /// Whatever looks like a secret, because the run's config cannot be read.
    Lookalikes,
}

/// A log that comes in pieces, without the secrets of a run.
#[derive(Debug)]
pub struct LogMask {
    hidden: Hidden,
    /// The line that is not complete.
    line: Vec<u8>,
}

impl LogMask {
    /// Masks the secrets of a config, and where that cannot be read, whatever looks like a secret.
    #[must_use]
    pub fn new(secrets: Option<Arc<Recipient>>) -> Self {
        Self::hiding(secrets.map_or(Hidden::Lookalikes, Hidden::Secrets))
    }

    /// Masks nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self::hiding(Hidden::Nothing)
    }

    const fn hiding(hidden: Hidden) -> Self {
        Self { hidden, line: Vec::new() }
    }

    /// The same for another log of the run.
    #[must_use]
    pub fn of_another(&self) -> Self {
        Self::hiding(self.hidden.clone())
    }

    /// Takes the next piece; `sink` gets what is masked of it.
    pub fn push(&mut self, piece: &[u8], mut sink: impl FnMut(&[u8])) {
        if matches!(self.hidden, Hidden::Nothing) {
            return sink(piece);
        }
        for mut part in piece.split_inclusive(|&byte| byte == b'\n') {
            while self.line.len() + part.len() > LONGEST {
                let (now, later) = part.split_at(LONGEST - self.line.len());
                self.line.extend_from_slice(now);
                part = later;
                let rest = self.line.split_off(self.hidden.border(&self.line));
                sink(&self.hidden.masked(&self.line));
                self.line = rest;
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                sink(&self.hidden.masked(&std::mem::take(&mut self.line)));
            }
        }
    }

    /// Ends the log: its last line may have no end.
    pub fn finish(&mut self, mut sink: impl FnMut(&[u8])) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            sink(&self.hidden.masked(&line));
        }
    }
}

impl Hidden {
    /// Where a line that is too long is cut: not within a secret, as far as secrets are known.
    fn border(&self, line: &[u8]) -> usize {
        const AT: usize = LONGEST - OVERLAP;
        match self {
            Self::Secrets(secrets) => Some(secrets.border(line, AT)).filter(|at| *at > 0),
            Self::Nothing => None,
            Self::Lookalikes => line[..AT].iter().rposition(u8::is_ascii_whitespace),
        }
        .unwrap_or(AT)
        .max(1)
    }

    fn masked(&self, line: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(line);
        match self {
            Self::Nothing => line.to_vec(),
            Self::Secrets(secrets) => secrets.scrub(&text).into_bytes(),
            Self::Lookalikes => redaction::mask_line(&text).into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::redaction::PLACEHOLDER;

    const SECRET: &str = "correct-horse-battery-staple";
    const KEY: &str =
        "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQ\\nAoIBAQDa9f3kX0qTz7\\n";

    fn mask() -> LogMask {
        let config = format!(
            "workflowConfig: {{ openMetadataServerConfig: {{ hostPort: 'http://om:8585/api', \
             securityConfig: {{ jwtToken: eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl }} }} }}\n\
             source: {{ password: {SECRET}, privateKey: \"{KEY}\" }}\n"
        );
        LogMask::new(Some(Arc::new(Recipient::read(&config).unwrap())))
    }

    fn text(log: &[u8], piece: usize) -> String {
        let (mut mask, mut text) = (mask(), Vec::new());
        log.chunks(piece).for_each(|piece| mask.push(piece, |new| text.extend_from_slice(new)));
        mask.finish(|new| text.extend_from_slice(new));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_secret_is_masked_across_the_borders_of_pieces() {
        let log = format!("with {SECRET}\nand {SECRET}, and the end {SECRET}");
        let expected = format!("with {PLACEHOLDER}\nand {PLACEHOLDER}, and the end {PLACEHOLDER}");
        for piece in 1..log.len() {
            assert_eq!(text(log.as_bytes(), piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn a_secret_of_several_lines_is_masked_line_by_line() {
        let log = format!("key:\n{}end\n", KEY.replace("\\n", "\n"));
        let masked = text(log.as_bytes(), 7);
        assert!(!masked.contains("MIIEvQ") && !masked.contains("AoIBAQ"), "{masked}");
        assert!(masked.starts_with("key:\n") && masked.ends_with("end\n"), "{masked}");
    }

    #[test]
    fn where_the_config_cannot_be_read_what_looks_like_a_secret_is_masked() {
        let log = format!("  password={SECRET}  done\n\tplain  text stays\nBearer {SECRET}");
        let shown = |mut mask: LogMask, piece| {
            let mut text = Vec::new();
            let pieces = log.as_bytes().chunks(piece);
            pieces.for_each(|piece| mask.push(piece, |new| text.extend_from_slice(new)));
            mask.finish(|new| text.extend_from_slice(new));
            String::from_utf8(text).unwrap()
        };
        for piece in 1..log.len() {
            let masked = shown(LogMask::new(None), piece);
            assert!(!masked.contains(SECRET), "{masked}");
            assert!(masked.contains("\n\tplain  text stays\n"), "{masked}");
            assert_eq!(shown(LogMask::off(), piece), log, "pieces of {piece}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// Also within a line that is masked in parts, and wherever the secret is in it.
        #[test]
        fn the_text_does_not_depend_on_the_pieces(
            before in LONGEST - OVERLAP - 100..LONGEST + 100, piece in 1000usize..600_000,
        ) {
            let log = format!("{}{SECRET}{}\nlast", "ä".repeat(before / 2), "y".repeat(LONGEST));
            let expected = log.replace(SECRET, PLACEHOLDER);
            prop_assert!(text(log.as_bytes(), piece) == expected);
        }
    }
}
