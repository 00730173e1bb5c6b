//! The blocks of a document, to be executed as they stand.
//!
//! A block of the language `console` is commands. A block of `yaml` whose first line is `# NAME.yaml`
//! is that file. A comment `<!-- not run: REASON -->` before a block keeps it from being executed.

use std::fmt::Write;
use std::path::Path;

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
    /// What it is.
    pub kind: Kind,
    /// Its text.
    pub text: String,
}

/// The commands and files of a document, in their order.
#[must_use]
pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut reason = None;
    let mut lines = document.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let (line, indent) = (line.trim_start(), line.len() - line.trim_start().len());
        if let Some(text) = line.strip_prefix("<!-- not run: ") {
            reason = text.strip_suffix(" -->").map(str::to_owned);
        } else if let Some(language) = line.strip_prefix("```") {
            let inner = lines.by_ref().map(|(line, _)| line);
            let inner = inner.take_while(|line| line.trim() != "```");
            let text: String = inner.map(|line| outdented(line, indent) + "\n").collect();
            let kind = kind_of(language.trim(), &text, reason.take());
            blocks.extend(kind.map(|kind| Block { line: number + 1, kind, text }));
        } else if !line.is_empty() {
            reason = None;
        }
    }
    blocks
}

fn outdented(line: &str, indent: usize) -> String {
    line.get(indent..).unwrap_or_default().to_owned()
}

fn kind_of(language: &str, text: &str, reason: Option<String>) -> Option<Kind> {
    let first = text.lines().next().unwrap_or_default();
    match (language, reason) {
        ("console", Some(reason)) => Some(Kind::Excluded(reason)),
        ("console", None) => Some(Kind::Commands),
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
    for Block { line, kind, text } in blocks {
        // Writing to a String cannot fail.
        let _written = match kind {
            Kind::Commands => write!(script, "echo '### line {line}' >&2\n{text}"),
            Kind::File(name) => write!(script, "cat > {name} <<'END OF FILE'\n{text}END OF FILE\n"),
            Kind::Excluded(_) => Ok(()),
        };
    }
    script
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DOCUMENT: &str = "# T\n\n```yaml\n# a.yaml\nb: 1\n```\n\n<!-- not run: it takes long -->\n\n\
        ```console\nslow\n```\n\n1. x\n\n   ```console\n   quick | cat\n   ```\n\n```yaml\nno: file\n```\n";

    #[test]
    fn blocks_are_commands_or_files_or_excluded_with_a_reason() {
        let kinds: Vec<(usize, Kind)> =
            blocks(DOCUMENT).into_iter().map(|block| (block.line, block.kind)).collect();
        let expected = [
            (4, Kind::File("a.yaml".to_owned())),
            (11, Kind::Excluded("it takes long".to_owned())),
            (17, Kind::Commands),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_script_has_the_files_and_the_commands() {
        let script = script(&blocks(DOCUMENT));
        assert!(script.contains("cat > a.yaml <<'END OF FILE'\n# a.yaml\nb: 1\nEND OF FILE\n"));
        assert!(script.ends_with("### line 17' >&2\nquick | cat\n") && !script.contains("slow"));
    }

    /// Documents whose commands `tests/tests/e2e/docs.rs` executes.
    const EXECUTED: [&str; 3] = ["docs/quickstart.md", "docs/install.md", "docs/recipes.md"];

    #[test]
    fn commands_of_other_documents_say_why_they_are_not_executed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let checked = [
            "README.md",
            "docs/adopt-operator.md",
            "docs/install.md",
            "docs/migrate-from-airflow.md",
            "docs/operate.md",
        ];
        for name in checked.iter().filter(|name| !EXECUTED.contains(*name)) {
            let Ok(document) = fs::read_to_string(root.join(name)) else { continue };
            let commands = blocks(&document).into_iter();
            let silent = commands.filter(|block| block.kind == Kind::Commands);
            let lines: Vec<usize> = silent.map(|block| block.line).collect();
            assert!(
                lines.is_empty(),
                "{name}: blocks at {lines:?} are not executed, without a reason"
            );
        }
    }
}
