//! How the exact end of the worker reaches the exit handler: upstream's `pipelineStatus` knows
//! only good and bad, so the operator sets these variables as well on the exit handler's pod.

use crate::omjob::{End, Reason};

/// Variable with the end of the worker in upstream's two words, see [`pipeline_status`].
pub const PIPELINE_STATUS_ENV: &str = "pipelineStatus";
/// Variable with the [`Reason`].
pub const REASON_ENV: &str = "OMPIPE_MAIN_REASON";
/// Variable with the exit code, where there is one.
pub const EXIT_CODE_ENV: &str = "OMPIPE_MAIN_EXIT_CODE";
/// Variable with the number of the signal, where one ended the worker.
pub const SIGNAL_ENV: &str = "OMPIPE_MAIN_SIGNAL";
/// Variable with the same in a sentence.
pub const MESSAGE_ENV: &str = "OMPIPE_MAIN_MESSAGE";
/// Variable with the time of the end, RFC 3339, where it is known.
pub const FINISHED_ENV: &str = "OMPIPE_MAIN_FINISHED";
/// Variable with the seconds that the exit handler may take to report; for a hook, less than the
/// pod's grace period.
pub const DEADLINE_ENV: &str = "OMPIPE_REPORT_SECONDS";

/// Variable with the token that a report uses where the worker's is in a secrets manager, and the
/// key of the run's Secret that has it.
pub const TOKEN_ENV: &str = "OMPIPE_REPORT_TOKEN";

/// Exit code of an exit handler whom another try would not help: OpenMetadata refuses what it says,
/// or the token that it has.
pub const HOPELESS: u8 = 4;

/// Most bytes of the sentence: an environment holds more, but no reader wants more.
const MAX_MESSAGE: usize = 4096;

/// The value of [`PIPELINE_STATUS_ENV`]. Exit handlers of images before 1.12 take `Succeeded` alone
/// for a success, newer ones `success` too.
#[must_use]
pub const fn pipeline_status(end: &End) -> &'static str {
    if end.succeeded() { "Succeeded" } else { "failed" }
}

/// The variables that tell the exit handler how the worker ended, [`PIPELINE_STATUS_ENV`] last, as
/// upstream's operator has it. The values are literal: the code that puts them on a pod doubles `$`.
#[must_use]
pub fn variables(end: &End) -> Vec<(&'static str, String)> {
    let message = &end.message[..end.message.floor_char_boundary(MAX_MESSAGE)];
    let all = [
        (REASON_ENV, Some(end.reason.to_string())),
        (EXIT_CODE_ENV, end.exit_code.map(|code| code.to_string())),
        (SIGNAL_ENV, end.signal.map(|signal| signal.to_string())),
        (MESSAGE_ENV, Some(message.to_owned())),
        (FINISHED_ENV, end.finished.map(|time| time.to_string())),
        (PIPELINE_STATUS_ENV, Some(pipeline_status(end).to_owned())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The end that [`variables`] describe; `None` if they are absent, as with upstream's operator and in
/// a hook, or when it is no reason of this version.
pub fn end_told(variable: impl Fn(&str) -> Option<String>) -> Option<End> {
    let number = |name: &str| variable(name)?.parse().ok();
    Some(End {
        reason: Reason::named(&variable(REASON_ENV)?)?,
        exit_code: number(EXIT_CODE_ENV),
        signal: number(SIGNAL_ENV),
        message: variable(MESSAGE_ENV).unwrap_or_default(),
        finished: variable(FINISHED_ENV).and_then(|time| time.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn told(end: &End) -> Option<End> {
        let variables: HashMap<_, _> = variables(end).into_iter().collect();
        end_told(|name| variables.get(name).cloned())
    }

    proptest! {
        #[test]
        fn an_end_reads_back_as_it_was(
            reason in proptest::sample::select(Reason::ALL.to_vec()),
            exit_code in proptest::option::of(any::<i32>()),
            signal in proptest::option::of(1..64),
            message in "\\PC{0,40}",
            finished in proptest::option::of(0_i64..4_000_000_000),
        ) {
            let finished = finished.map(|s| jiff::Timestamp::from_second(s).unwrap());
            let end = End { reason, exit_code, signal, message, finished };
            prop_assert_eq!(told(&end), Some(end));
        }
    }

    #[test]
    fn a_long_sentence_is_cut() {
        let end = End::without_code(Reason::Admission, "ä".repeat(MAX_MESSAGE));
        assert_eq!(told(&end).unwrap().message.len(), MAX_MESSAGE);
    }

    #[test]
    fn the_seeds_variable_comes_last() {
        let end = End::adopted(Some(0));
        assert_eq!(variables(&end).last(), Some(&(PIPELINE_STATUS_ENV, "Succeeded".to_owned())));
        assert_eq!(pipeline_status(&End::adopted(Some(1))), "failed");
    }

    #[test]
    fn without_a_reason_nothing_was_told() {
        assert_eq!(end_told(|name| (name == EXIT_CODE_ENV).then(|| "1".to_owned())), None);
        assert_eq!(end_told(|_| Some("Melted".to_owned())), None);
    }
}
