//! Decides what a finished run's row must say, from how the process ended and what the row says now
//! (docs/adr/0022-row-decided-once.md).

use std::fmt::{self, Write as _};

use crate::PipelineState;
use crate::omjob::{End, Reason};

/// How the process of a run ended, as far as its row depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// With exit code 0.
    Completed,
    /// With another exit code, of its own.
    Failed,
    /// By something outside of it.
    Killed,
    /// Because a user stopped the run.
    Stopped,
    /// There never was a process.
    NeverStarted,
    /// Nobody knows how.
    Unknown,
}

impl Ending {
    /// Every way to end.
    pub const ALL: [Self; 6] = [
        Self::Completed,
        Self::Failed,
        Self::Killed,
        Self::Stopped,
        Self::NeverStarted,
        Self::Unknown,
    ];

    /// The ending that a reason means.
    #[must_use]
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Completed => Self::Completed,
            Reason::Error
            | Reason::BadConfig
            | Reason::SourceAuth
            | Reason::SourceUnreachable
            | Reason::OpenMetadataUnreachable => Self::Failed,
            Reason::Signal
            | Reason::OomKilled
            | Reason::Evicted
            | Reason::NodeLost
            | Reason::Deleted
            | Reason::DeadlineExceeded
            | Reason::Suspended => Self::Killed,
            Reason::Killed => Self::Stopped,
            Reason::ImagePull
            | Reason::ContainerConfig
            | Reason::InitContainer
            | Reason::Sidecar
            | Reason::Mount
            | Reason::Sandbox
            | Reason::Rejected
            | Reason::Unschedulable
            | Reason::Queued
            | Reason::Quota
            | Reason::Admission
            | Reason::ApiUnavailable
            | Reason::NamespaceTerminating
            | Reason::NotStarted => Self::NeverStarted,
            Reason::NotConfigured | Reason::JobFailed | Reason::Unknown => Self::Unknown,
        }
    }

    /// The words of the table.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "exit 0",
            Self::Failed => "exit ≠ 0 of its own",
            Self::Killed => "signal, OOM, eviction, node loss, deadline, deletion of its pod",
            Self::Stopped => "user's kill",
            Self::NeverStarted => "never started",
            Self::Unknown => "nobody knows how",
        }
    }
}

/// What a row says, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// That the run goes on, or nothing.
    Open,
    /// That it succeeded, which the worker writes before it has stored everything.
    Success,
    /// That it ended in another way.
    Ended,
}

impl Said {
    const fn by(row: Option<PipelineState>) -> Self {
        match row {
            None | Some(PipelineState::Queued | PipelineState::Running) => Self::Open,
            Some(PipelineState::Success) => Self::Success,
            Some(
                PipelineState::PartialSuccess | PipelineState::Failed | PipelineState::Stopped,
            ) => Self::Ended,
        }
    }
}

/// What is to be done about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right, or the better account.
    Stands,
    /// It has to say this.
    Write(Correction),
}

/// What a row has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// How the run ended.
    pub state: PipelineState,
    /// What a step of the row tells about it; the state alone says enough where there is none.
    pub account: Option<Account>,
}

/// What a step tells about the end of a run, always together with the reason of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// Why it ended, and what the cluster knows about its pod.
    Diagnostics,
    /// The same, and that it had reported success.
    FailedAfterReporting,
    /// What ended it after it had reported success, and what may be missing.
    KilledAfterReporting,
    /// Why it never started.
    NeverStarted,
    /// That a user stopped it, for servers without a state for that.
    Stopped,
}

/// What a run's row should say, by how the run ended and what the row says now; `None` where the
/// server has no row.
#[must_use]
pub const fn decide(ending: Ending, row: Option<PipelineState>) -> Verdict {
    use PipelineState::{Failed, PartialSuccess, Stopped, Success};
    match (ending, Said::by(row)) {
        (_, Said::Ended) | (Ending::Completed | Ending::Unknown, Said::Success) => Verdict::Stands,
        (Ending::Completed, Said::Open) => write(Success, None),
        (Ending::Failed | Ending::Killed | Ending::Unknown, Said::Open) => {
            write(Failed, Some(Account::Diagnostics))
        }
        (Ending::Failed, Said::Success) => write(Failed, Some(Account::FailedAfterReporting)),
        (Ending::Killed, Said::Success) => {
            write(PartialSuccess, Some(Account::KilledAfterReporting))
        }
        (Ending::Stopped, Said::Open | Said::Success) => write(Stopped, None),
        // A success can only be that of an attempt before, which was followed by another.
        (Ending::NeverStarted, Said::Open | Said::Success) => {
            write(Failed, Some(Account::NeverStarted))
        }
    }
}

const fn write(state: PipelineState, account: Option<Account>) -> Verdict {
    Verdict::Write(Correction { state, account })
}

impl Correction {
    /// The same for a server that refuses the state `stopped`, as those of before 2.0 may do;
    /// `None` when there is nothing else to say.
    #[must_use]
    pub const fn without_stopped(self) -> Option<Self> {
        match self.state {
            PipelineState::Stopped => {
                Some(Self { state: PipelineState::Failed, account: Some(Account::Stopped) })
            }
            PipelineState::Queued
            | PipelineState::Running
            | PipelineState::Success
            | PipelineState::PartialSuccess
            | PipelineState::Failed => None,
        }
    }

    /// Whether what the cluster knows about the pod belongs into the row.
    #[must_use]
    pub const fn wants_diagnostics(self) -> bool {
        match self.account {
            Some(
                Account::Diagnostics
                | Account::FailedAfterReporting
                | Account::KilledAfterReporting
                | Account::NeverStarted,
            ) => true,
            Some(Account::Stopped) | None => false,
        }
    }
}

impl Account {
    /// What happened, in a sentence for people.
    #[must_use]
    pub fn sentence(self, end: &End) -> String {
        let what = if end.message.is_empty() { "no more is known" } else { &end.message };
        let after = match self {
            Self::Diagnostics => "",
            Self::FailedAfterReporting => {
                " (after the worker had reported success: its last entities were not stored)"
            }
            Self::KilledAfterReporting => {
                " (after the worker had reported success: the last entities that it found may be \
                 missing)"
            }
            Self::NeverStarted => " (the worker never started)",
            Self::Stopped => " (a user stopped the run)",
        };
        format!("{}: {what}{after}", end.reason)
    }
}

/// The words of the table.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Write(Correction { state, account }) = self else {
            return f.write_str("stands");
        };
        match account {
            None if *state == PipelineState::Stopped => {
                write!(f, "{state} (failed where unknown)")
            }
            None => write!(f, "{state}"),
            Some(Account::Diagnostics) => write!(f, "{state} + diagnostics"),
            Some(Account::FailedAfterReporting) => write!(
                f,
                "**{state}** + diagnostics: it failed after reporting (its last entities were not \
                 stored)"
            ),
            Some(Account::KilledAfterReporting) => write!(
                f,
                "**{state}** + a step that says what was killed after reporting, and what may be \
                 missing"
            ),
            Some(Account::NeverStarted) => write!(f, "{state} + why"),
            Some(Account::Stopped) => write!(f, "{state} + that a user stopped it"),
        }
    }
}

/// The whole table as Markdown: `docs/status.md` has it word for word.
#[must_use]
pub fn table() -> String {
    const ROWS: [Option<PipelineState>; 3] =
        [None, Some(PipelineState::Success), Some(PipelineState::Failed)];
    let mut table = "| The process ended | Row says nothing, queued, running | Row says success \
                     | partialSuccess, failed, stopped |\n|---|---|---|---|\n"
        .to_owned();
    for ending in Ending::ALL {
        let cells = ROWS.map(|row| decide(ending, row).to_string());
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {} | {} |", ending.as_str(), cells.join(" | "));
    }
    table
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::Account::{
        Diagnostics, FailedAfterReporting, KilledAfterReporting, NeverStarted as Never,
    };
    use super::PipelineState::{Failed, PartialSuccess, Queued, Running, Stopped, Success};
    use super::*;

    const STANDS: Verdict = Verdict::Stands;

    /// Every cell: the verdict on an open row, on `success`, on any other end.
    #[rstest]
    #[case(Ending::Completed, write(Success, None), STANDS)]
    #[case(
        Ending::Failed,
        write(Failed, Some(Diagnostics)),
        write(Failed, Some(FailedAfterReporting))
    )]
    #[case(
        Ending::Killed,
        write(Failed, Some(Diagnostics)),
        write(PartialSuccess, Some(KilledAfterReporting))
    )]
    #[case(Ending::Stopped, write(Stopped, None), write(Stopped, None))]
    #[case(Ending::NeverStarted, write(Failed, Some(Never)), write(Failed, Some(Never)))]
    #[case(Ending::Unknown, write(Failed, Some(Diagnostics)), STANDS)]
    fn every_cell(#[case] ending: Ending, #[case] open: Verdict, #[case] success: Verdict) {
        for row in [None, Some(Queued), Some(Running)] {
            assert_eq!(decide(ending, row), open, "{row:?}");
        }
        assert_eq!(decide(ending, Some(Success)), success);
        for row in [PartialSuccess, Failed, Stopped] {
            assert_eq!(decide(ending, Some(row)), STANDS, "{row}");
        }
    }

    #[rstest]
    #[case::completed(&[Reason::Completed], Ending::Completed)]
    #[case::failed(&[Reason::Error], Ending::Failed)]
    #[case::killed(
        &[
            Reason::Signal, Reason::OomKilled, Reason::Evicted, Reason::NodeLost,
            Reason::Deleted, Reason::DeadlineExceeded, Reason::Suspended,
        ],
        Ending::Killed
    )]
    #[case::stopped(&[Reason::Killed], Ending::Stopped)]
    #[case::never_started(
        &[
            Reason::ImagePull, Reason::ContainerConfig, Reason::Unschedulable,
            Reason::Queued, Reason::Quota, Reason::Admission, Reason::ApiUnavailable,
            Reason::NamespaceTerminating, Reason::NotStarted,
        ],
        Ending::NeverStarted
    )]
    #[case::unknown(&[Reason::NotConfigured, Reason::Unknown], Ending::Unknown)]
    fn every_reason(#[case] reasons: &[Reason], #[case] ending: Ending) {
        assert!(reasons.iter().all(|reason| Ending::of(*reason) == ending));
    }

    #[test]
    fn whoever_decides_second_leaves_what_the_first_one_wrote() {
        let rows = [None, Some(Queued), Some(Running), Some(Success), Some(PartialSuccess)];
        for ending in Ending::ALL {
            for row in rows {
                if let Verdict::Write(Correction { state, .. }) = decide(ending, row) {
                    assert_eq!(decide(ending, Some(state)), STANDS, "{ending:?} {row:?}");
                }
            }
        }
    }

    #[test]
    fn only_a_stop_can_be_said_otherwise() {
        let Verdict::Write(stop) = decide(Ending::Stopped, None) else { panic!("writes") };
        let other = stop.without_stopped().unwrap();
        assert_eq!((other.state, other.account), (Failed, Some(Account::Stopped)));
        assert_eq!(other.without_stopped(), None);
    }

    #[test]
    fn a_sentence_names_reason_and_consequence() {
        let end = End::without_code(Reason::OomKilled, "used more memory than it may");
        assert_eq!(Diagnostics.sentence(&end), "OOMKilled: used more memory than it may");
        let sentence = KilledAfterReporting.sentence(&end);
        assert!(sentence.contains("had reported success") && sentence.contains("may be missing"));
        let silent = End::without_code(Reason::Unknown, "");
        assert_eq!(Diagnostics.sentence(&silent), "Unknown: no more is known");
    }

    #[test]
    fn the_documents_have_the_table_word_for_word() {
        let document = include_str!("../../../../docs/status.md");
        assert!(document.contains(&table()), "docs/status.md lacks this table:\n{}", table());
    }
}
