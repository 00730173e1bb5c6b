//! Whether the kernel killed something in this container for want of memory.

use std::fs;

/// Where a container finds the counts of its own control group, by version 2 and 1.
const FILES: [&str; 2] =
    ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];

/// How often that happened until some moment; `None` when the node does not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct OomKills(Option<u64>);

impl OomKills {
    pub(super) fn so_far() -> Self {
        let texts = FILES.iter().filter_map(|file| fs::read_to_string(file).ok());
        Self(texts.into_iter().find_map(|text| count(&text)))
    }

    /// True when it happened again since.
    pub(super) fn have_risen(self) -> bool {
        self.rises_to(Self::so_far())
    }

    fn rises_to(self, later: Self) -> bool {
        self.0.zip(later.0).is_some_and(|(before, after)| before < after)
    }
}

/// The line `oom_kill N`, which both versions have.
fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::version_2("low 0\nhigh 0\nmax 5\noom 2\noom_kill 3\noom_group_kill 0\n", Some(3))]
    #[case::version_1("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", Some(7))]
    #[case::old_kernel("oom_kill_disable 0\nunder_oom 0\n", None)]
    #[case::nothing("", None)]
    fn counts(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(count(text), expected);
    }

    #[rstest]
    #[case(Some(0), Some(1), true)]
    #[case(Some(1), Some(1), false)]
    #[case(None, Some(1), false)]
    #[case(Some(1), None, false)]
    fn a_rise(#[case] before: Option<u64>, #[case] after: Option<u64>, #[case] expected: bool) {
        assert_eq!(OomKills(before).rises_to(OomKills(after)), expected);
    }
}
