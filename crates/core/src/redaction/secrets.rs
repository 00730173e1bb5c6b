//! Secrets that are known, and texts without them.
//!
//! A secret is found in the forms that programs give it: as it is, in base64 (also within a longer
//! text, as `user:password` in a header), percent-encoded as in URLs, escaped as in JSON, Python and
//! HTML. Everything that any of them covers is masked, so of two secrets of which one begins with the
//! other nothing is left.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::PLACEHOLDER;
use super::inline::{merged, replaced};
use super::view::View;

/// The shortest secret that is looked for. A shorter one is in every text.
const SHORTEST: usize = 4;
/// From here on a credential is masked within words too; a shorter one only as a word.
const WITHIN_WORDS: usize = 8;
/// From this length on a value that only accompanies credentials is masked in texts, and a credential even
/// where the document has the same word in the clear.
const LONG: usize = 12;
/// Most bytes of all forms. Only a config that was made for it has more, and it is its author's.
const MOST: usize = 256 << 10;

/// The secrets of a document.
#[derive(Clone, Default)]
pub struct Secrets {
    sure: BTreeSet<String>,
    likely: BTreeSet<String>,
    /// Short texts that the document has in the clear.
    clear: BTreeSet<String>,
    forms: OnceLock<Forms>,
}

impl Secrets {
    /// `text` without the secrets.
    #[must_use]
    pub fn scrub(&self, text: &str) -> String {
        let forms = self.forms();
        let found = View::all_of(text).iter().flat_map(|view| forms.found_in(view)).collect();
        replaced(text, &merged(found), PLACEHOLDER)
    }

    /// True without any secret.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sure.is_empty() && self.likely.is_empty()
    }

    /// Every form of them that texts are searched for.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.forms().forms.iter().map(|form| form.text.as_str())
    }

    /// True for a secret of exactly this text.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.sure.contains(text) || self.likely.contains(text)
    }

    /// Adds texts that may be secret or ordinary words: only long ones are masked in other texts.
    pub fn extend_likely(&mut self, texts: impl IntoIterator<Item = String>) {
        texts.into_iter().for_each(|text| self.add_likely(&text));
    }

    pub(super) fn add_sure(&mut self, text: &str) {
        self.forms = OnceLock::new();
        self.sure.insert(text.to_owned());
    }

    pub(super) fn add_likely(&mut self, text: &str) {
        self.forms = OnceLock::new();
        self.likely.insert(text.to_owned());
    }

    pub(super) fn add_clear(&mut self, text: &str) {
        if text.len() < LONG {
            self.clear.insert(text.to_owned());
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.forms = OnceLock::new();
        self.sure.extend(other.sure);
        self.likely.extend(other.likely);
        self.clear.extend(other.clear);
    }

    fn forms(&self) -> &Forms {
        self.forms.get_or_init(|| Forms::of(self))
    }
}

impl Extend<String> for Secrets {
    fn extend<I: IntoIterator<Item = String>>(&mut self, texts: I) {
        for text in texts {
            self.add_sure(&text);
        }
    }
}

impl FromIterator<String> for Secrets {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Self {
        let mut secrets = Self::default();
        secrets.extend(texts);
        secrets
    }
}

impl FromIterator<Self> for Secrets {
    fn from_iter<I: IntoIterator<Item = Self>>(all: I) -> Self {
        all.into_iter().fold(Self::default(), |mut secrets, one| {
            secrets.merge(one);
            secrets
        })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Where {
    Anywhere,
    /// Only where no letter and no digit precedes or follows it.
    AsWord,
}

#[derive(Clone)]
struct Form {
    text: String,
    place: Where,
}

/// Forms by their first four bytes, with a filter before them: most places of a text begin none.
#[derive(Clone)]
struct Forms {
    filter: [u64; 64],
    forms: Vec<Form>,
}

impl Forms {
    fn of(secrets: &Secrets) -> Self {
        let sure = secrets.sure.iter().filter_map(|secret| {
            let is_public = secret.len() < LONG && secrets.clear.contains(secret);
            (secret.len() >= SHORTEST && !is_public).then(|| {
                let is_number = secret.bytes().all(|byte| byte.is_ascii_digit());
                let as_word = secret.len() < WITHIN_WORDS || (is_number && secret.len() < LONG);
                (secret, if as_word { Where::AsWord } else { Where::Anywhere })
            })
        });
        let likely = secrets.likely.iter().filter(|secret| secret.len() >= LONG);
        let all: Vec<_> = sure.chain(likely.map(|secret| (secret, Where::Anywhere))).collect();
        let plain = all.iter().map(|(secret, place)| ((*secret).clone(), *place));
        let encoded = all.iter().flat_map(|(secret, _)| {
            encoded(secret).into_iter().map(|form| (form, Where::Anywhere))
        });
        Self::bounded(plain.chain(encoded))
    }

    fn bounded(forms: impl Iterator<Item = (String, Where)>) -> Self {
        let mut bytes = 0;
        let within = forms.take_while(|(text, _)| {
            bytes += text.len();
            bytes <= MOST
        });
        let mut forms: Vec<Form> = within.map(|(text, place)| Form { text, place }).collect();
        forms.sort_by(|a, b| (key_of(a), &a.text, a.place).cmp(&(key_of(b), &b.text, b.place)));
        forms.dedup_by(|later, first| later.text == first.text);
        let mut filter = [0; 64];
        for form in &forms {
            let (word, bit) = slot(key_of(form));
            filter[word] |= bit;
        }
        Self { filter, forms }
    }

    /// The parts of the text that a form covers.
    fn found_in(&self, view: &View<'_>) -> Vec<Range<usize>> {
        let text = view.bytes();
        let mut found = Vec::new();
        for (at, first) in text.windows(SHORTEST).enumerate() {
            let Some(key) = first.try_into().map(u32::from_be_bytes).ok() else { continue };
            let (word, bit) = slot(key);
            if self.filter[word] & bit == 0 {
                continue;
            }
            let from = self.forms.partition_point(|form| key_of(form) < key);
            let candidates = self.forms[from..].iter().take_while(|form| key_of(form) == key);
            let longest = candidates.filter(|form| stands_at(form, text, at)).map(|f| f.text.len());
            found.extend(longest.max().map(|length| view.origin(at..at + length)));
        }
        found
    }
}

fn key_of(form: &Form) -> u32 {
    let first = form.text.as_bytes().first_chunk::<SHORTEST>();
    first.map_or(0, |first| u32::from_be_bytes(*first))
}

/// The place of a key in the filter.
fn slot(key: u32) -> (usize, u64) {
    let hash = key.wrapping_mul(0x9E37_79B1) >> 20;
    ((hash >> 6) as usize, 1 << (hash & 63))
}

fn stands_at(form: &Form, text: &[u8], at: usize) -> bool {
    let secret = form.text.as_bytes();
    if !text[at..].starts_with(secret) {
        return false;
    }
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    let after = text.get(at + secret.len());
    let is_alone = |byte: Option<&u8>| !byte.is_some_and(u8::is_ascii_alphanumeric);
    form.place == Where::Anywhere || (is_alone(before) && is_alone(after))
}

/// A secret in base64, at each place that it may have in a longer text, and the lines of one that
/// has several.
fn encoded(secret: &str) -> BTreeSet<String> {
    let in_base64 = (0..3).flat_map(|offset| {
        let text = [&[0; 2][..offset], secret.as_bytes()].concat();
        // Characters that other bytes have a part in differ from text to text.
        let (first, end) = ([0, 2, 3][offset], text.len() * 8 / 6);
        [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)]
            .map(|encoded| encoded.get(first..end).unwrap_or_default().to_owned())
    });
    let lines = secret.lines().map(|line| line.trim().to_owned());
    let lines = lines.filter(|line| line != secret && !line.starts_with("-----"));
    let of_query = secret.contains(' ').then(|| secret.replace(' ', "+"));
    let is_long = |form: &String| form.len() >= WITHIN_WORDS;
    in_base64.chain(of_query).filter(is_long).chain(lines.filter(|l| l.len() >= LONG)).collect()
}
