//! Somebody who follows the documents: has a home directory with the programs of a user, and executes
//! the blocks of a page as they stand.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use ompipe_tests::docs::{Block, Executed, Kind, blocks, repository, script};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::bed;

/// Longest time that the commands of a page take.
const PATIENCE: Duration = Duration::from_mins(8);
/// What a script exports is there for the next one.
const CARRIED: &str = ".exported";

/// What a page has as an example, and what is the reader's in its place.
struct Own {
    page: &'static str,
    example: &'static str,
    value: String,
}

/// Who follows a page.
pub(super) struct Reader {
    home: TempDir,
    own: Vec<Own>,
}

impl Reader {
    /// A reader with the programs that the pages call, a checkout's charts, and the bot's token.
    pub(super) fn new(token: &str) -> Self {
        let home = TempDir::new().unwrap();
        let reader = Self { home, own: Vec::new() };
        fs::create_dir_all(reader.path("bin")).unwrap();
        symlink(&bed().ompipe, reader.path("bin/ompipe")).unwrap();
        // Under that name the sandbox is kubectl. With a cluster of one's own there is a real one.
        for (program, file) in [("kubectl", "sandbox"), ("helm", "helm")] {
            let file = repository().join(".build/bin").join(file);
            if file.exists() {
                symlink(file.canonicalize().unwrap(), reader.path("bin").join(program)).unwrap();
            }
        }
        let charts = repository().join("charts").canonicalize().unwrap();
        symlink(charts, reader.path("charts")).unwrap();
        fs::create_dir_all(reader.path(".config/ompipe")).unwrap();
        fs::write(reader.path(".config/ompipe/token"), token).unwrap();
        reader
    }

    /// The same, with a value of its own in the place of a page's example.
    pub(super) fn having(
        mut self,
        page: &'static str,
        example: &'static str,
        value: impl Into<String>,
    ) -> Self {
        let text = fs::read_to_string(repository().join(page)).unwrap();
        assert!(text.contains(example), "{page} does not mention {example}");
        self.own.push(Own { page, example, value: value.into() });
        self
    }

    /// A program of the reader's, which is this script.
    pub(super) fn with_program(self, name: &str, text: &str) -> Self {
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A file that the page's commands have written.
    pub(super) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Executes a whole page.
    pub(super) async fn reads(&self, page: &str) {
        self.reads_where(page, |_| true).await;
    }

    /// Executes what a page has before a heading.
    pub(super) async fn reads_until(&self, page: &str, heading: &str) {
        let first = self.first_line(page, heading);
        self.reads_where(page, |block| block.line < first).await;
    }

    /// Executes what a page has below one heading.
    pub(super) async fn reads_below(&self, page: &str, heading: &str) {
        self.first_line(page, heading);
        self.reads_where(page, |block| block.heading == heading).await;
    }

    /// Executes what a page has from a heading on.
    pub(super) async fn reads_from(&self, page: &str, heading: &str) {
        let first = self.first_line(page, heading);
        self.reads_where(page, |block| block.line >= first).await;
    }

    fn first_line(&self, page: &str, heading: &str) -> usize {
        let blocks = blocks(&self.document(page));
        let below = blocks.iter().find(|block| block.heading == heading);
        below.unwrap_or_else(|| panic!("{page} has no block below {heading:?}")).line
    }

    /// The page with what is the reader's own in the place of the examples.
    fn document(&self, page: &str) -> String {
        let document = fs::read_to_string(repository().join(page)).unwrap();
        let own = self.own.iter().filter(|own| own.page == page);
        own.fold(document, |document, own| document.replace(own.example, &own.value))
    }

    async fn reads_where(&self, page: &str, is_read: impl Fn(&Block) -> bool) {
        let blocks: Vec<Block> =
            blocks(&self.document(page)).into_iter().filter(|block| is_read(block)).collect();
        self.executes(page, &script(&blocks)).await;
        let commands = blocks.iter().filter(|block| block.kind == Kind::Commands);
        let lines: Vec<usize> = commands.map(|block| block.line).collect();
        Executed::default().note(page, &lines).unwrap();
    }

    /// Executes commands that no page has, such as those that make what the page begins with.
    pub(super) async fn does(&self, commands: &str) {
        self.executes("what comes before the page", &format!("set -euo pipefail\n{commands}\n"))
            .await;
    }

    async fn executes(&self, what: &str, script: &str) {
        // A page that fails half-way leaves nothing running.
        let first = format!(
            "trap 'jobs -p | xargs -r kill 2>/dev/null' EXIT\n\
             [[ ! -e {CARRIED} ]] || source {CARRIED}\n"
        );
        let script = format!("{first}{script}\nexport -p > ~/{CARRIED}\n");
        let path = format!("{}/bin:{}", self.home.path().display(), std::env::var("PATH").unwrap());
        let home = self.home.path().display().to_string();
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(self.home.path()).kill_on_drop(true);
        command.env_clear().envs([("HOME", home), ("PATH", path)]);
        command.env("KUBECONFIG", &bed().kubeconfig);
        // Enough for the worker of the tests, beside many others.
        command.envs([("K8S_REQUESTS_CPU", "10m"), ("K8S_REQUESTS_MEMORY", "64Mi")]);
        let output = timeout(PATIENCE, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{what} takes longer than {PATIENCE:?}"));
        let output = output.unwrap();
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(output.status.success(), "{what}:\n{stdout}\n{stderr}");
    }
}
