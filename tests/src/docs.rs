//! The blocks of a document, to be executed as they stand.
//!
//! A block of the language `console` (or `sh`, `bash`, `shell`) is commands. A block of `yaml` whose
//! first line is `# NAME.yaml` is that file. A comment `<!-- not run: REASON -->` before a block of
//! commands keeps it from being executed.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Commands of a shell.
    Commands,
    /// A file of this name.
    File(String),
    /// Commands that are not executed, and why.
    Excluded(String),
}

/// A block of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Line of its first line in the document, from 1.
    pub line: usize,
    /// The heading that it is below, without its number signs.
    pub heading: String,
    /// What it is.
    pub kind: Kind,
    /// Its text.
    pub text: String,
}

/// The commands and files of a document, in their order.
#[must_use]
pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut reason, mut heading) = (None, String::new());
    let mut lines = document.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let (line, indent) = (line.trim_start(), line.len() - line.trim_start().len());
        if let Some(text) = line.strip_prefix("<!-- not run: ") {
            reason = text.strip_suffix(" -->").filter(|text| !text.trim().is_empty());
        } else if let Some(language) = line.strip_prefix("```") {
            let inner = lines.by_ref().map(|(line, _)| line);
            let inner = inner.take_while(|line| line.trim() != "```");
            let text: String = inner.map(|line| outdented(line, indent) + "\n").collect();
            let kind = kind_of(language.trim(), &text, reason.take());
            let heading = heading.clone();
            blocks.extend(kind.map(|kind| Block { line: number + 1, heading, kind, text }));
        } else if !line.is_empty() {
            reason = None;
            if line.starts_with('#') {
                line.trim_start_matches(['#', ' ']).clone_into(&mut heading);
            }
        }
    }
    blocks
}

fn outdented(line: &str, indent: usize) -> String {
    line.get(indent..).unwrap_or_default().to_owned()
}

fn kind_of(language: &str, text: &str, reason: Option<&str>) -> Option<Kind> {
    let first = text.lines().next().unwrap_or_default();
    match (language, reason) {
        ("console" | "sh" | "bash" | "shell", Some(reason)) => {
            Some(Kind::Excluded(reason.to_owned()))
        }
        ("console" | "sh" | "bash" | "shell", None) => Some(Kind::Commands),
        ("yaml", _) => {
            let name = first.strip_prefix("# ")?;
            let is_file = Path::new(name).extension().is_some_and(|end| end == "yaml");
            (is_file && !name.contains(' ')).then(|| Kind::File(name.to_owned()))
        }
        _ => None,
    }
}

/// A script that makes the files and executes the commands; it says which block it is at.
#[must_use]
pub fn script(blocks: &[Block]) -> String {
    let mut script = String::from("set -euo pipefail\n");
    for Block { line, kind, text, .. } in blocks {
        // Writing to a String cannot fail.
        let _written = match kind {
            Kind::Commands => write!(script, "echo '### line {line}' >&2\n{text}"),
            Kind::File(name) => write!(script, "cat > {name} <<'END OF FILE'\n{text}END OF FILE\n"),
            Kind::Excluded(_) => Ok(()),
        };
    }
    script
}

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The pages that people read: README.md, and those of docs/.
///
/// # Errors
/// The directory cannot be read.
pub fn pages() -> io::Result<Vec<String>> {
    let mut pages = vec!["README.md".to_owned(), "images/README.md".to_owned()];
    for entry in fs::read_dir(repository().join("docs"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_page = Path::new(&name).extension().is_some_and(|end| end == "md");
        pages.extend(is_page.then(|| format!("docs/{name}")));
    }
    pages.sort();
    Ok(pages)
}

/// Which blocks the tests have executed: a file for each page, with the line of each block.
#[derive(Debug)]
pub struct Executed {
    directory: PathBuf,
}

impl Default for Executed {
    fn default() -> Self {
        Self { directory: crate::helm::built("docs-blocks") }
    }
}

impl Executed {
    fn file(&self, page: &str) -> PathBuf {
        self.directory.join(page.replace('/', "--"))
    }

    /// Notes that the blocks at these lines were executed, in addition to others of the page.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note(&self, page: &str, lines: &[usize]) -> io::Result<()> {
        let mut all = self.lines(page)?;
        all.extend(lines);
        let text = all.iter().map(usize::to_string).collect::<Vec<_>>().join("\n");
        fs::create_dir_all(&self.directory)?;
        fs::write(self.file(page), text)
    }

    fn lines(&self, page: &str) -> io::Result<BTreeSet<usize>> {
        match fs::read_to_string(self.file(page)) {
            Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }
}

/// What became of the blocks of commands of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The page.
    pub page: String,
    /// How many were executed.
    pub run: usize,
    /// Line and reason of each that is not executed.
    pub excluded: Vec<(usize, String)>,
    /// Lines of those that were not executed and have no reason.
    pub silent: Vec<usize>,
}

impl Count {
    /// Counts the blocks of a page, given which were executed.
    #[must_use]
    pub fn of(page: &str, document: &str, executed: &BTreeSet<usize>) -> Self {
        let mut count =
            Self { page: page.to_owned(), run: 0, excluded: Vec::new(), silent: Vec::new() };
        for Block { line, kind, .. } in blocks(document) {
            match kind {
                Kind::Commands if executed.contains(&line) => count.run += 1,
                Kind::Commands => count.silent.push(line),
                Kind::Excluded(reason) => count.excluded.push((line, reason)),
                Kind::File(_) => {}
            }
        }
        count
    }

    /// Counts the blocks of every page that has some.
    ///
    /// # Errors
    /// A page cannot be read.
    pub fn all(executed: &Executed) -> io::Result<Vec<Self>> {
        let mut counts = Vec::new();
        for page in pages()? {
            let document = fs::read_to_string(repository().join(&page))?;
            counts.push(Self::of(&page, &document, &executed.lines(&page)?));
        }
        counts.retain(|count| !count.is_empty());
        Ok(counts)
    }

    const fn is_empty(&self) -> bool {
        self.run == 0 && self.excluded.is_empty() && self.silent.is_empty()
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { page, run, excluded, silent } = self;
        let not = excluded.len() + silent.len();
        write!(f, "{page}: {run} blocks were run, {not} were not")?;
        for (line, reason) in excluded {
            write!(f, "\n  line {line}: {reason}")?;
        }
        for line in silent {
            write!(f, "\n  line {line}: NOT RUN, and the page gives no reason")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# T\n\n```yaml\n# a.yaml\nb: 1\n```\n\n<!-- not run: it takes long -->\n\n\
        ```console\nslow\n```\n\n## U\n\n1. x\n\n   ```console\n   quick | cat\n   ```\n\n```yaml\nno: file\n```\n";

    #[test]
    fn blocks_are_commands_or_files_or_excluded_with_a_reason() {
        let kinds: Vec<(usize, String, Kind)> =
            blocks(DOCUMENT).into_iter().map(|one| (one.line, one.heading, one.kind)).collect();
        let expected = [
            (4, "T".to_owned(), Kind::File("a.yaml".to_owned())),
            (11, "T".to_owned(), Kind::Excluded("it takes long".to_owned())),
            (19, "U".to_owned(), Kind::Commands),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_script_has_the_files_and_the_commands() {
        let script = script(&blocks(DOCUMENT));
        assert!(script.contains("cat > a.yaml <<'END OF FILE'\n# a.yaml\nb: 1\nEND OF FILE\n"));
        assert!(script.ends_with("### line 19' >&2\nquick | cat\n") && !script.contains("slow"));
    }

    #[test]
    fn a_block_without_a_run_and_without_a_reason_is_counted_as_such() {
        let silent = Count::of("p.md", DOCUMENT, &BTreeSet::new());
        assert_eq!((silent.run, silent.silent.as_slice()), (0, &[19][..]));
        let run = Count::of("p.md", DOCUMENT, &BTreeSet::from([19]));
        assert_eq!((run.run, run.silent.len()), (1, 0));
        let told = "p.md: 1 blocks were run, 1 were not\n  line 11: it takes long";
        assert_eq!(run.to_string(), told);
        let empty = DOCUMENT.replace("it takes long", " ");
        assert_eq!(Count::of("p.md", &empty, &BTreeSet::from([19])).silent, [11]);
    }

    /// A page without a test cannot have a block that nothing executes, which `docs-blocks` would
    /// only find after a whole run.
    #[test]
    fn commands_of_pages_that_no_test_executes_say_why() {
        let tests = ["mod.rs", "adoption.rs"].map(|name| {
            let file = repository().join("tests/tests/e2e/docs").join(name);
            fs::read_to_string(file).unwrap()
        });
        let tests = tests.concat();
        for count in Count::all(&Executed { directory: PathBuf::from("/nonexistent") }).unwrap() {
            let is_executed = tests.contains(&format!("\"{}\"", count.page));
            assert!(is_executed || count.silent.is_empty(), "{count}");
        }
    }
}
