//! The arguments of `supervise`.

use std::time::Duration;

use ompipe_exit_handler::Order;

/// The seed's grace period (*PreStop Hook Validation*).
const GRACE: Duration = Duration::from_mins(1);

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Supervise {
    pub(crate) order: Order,
    /// Whether the end is to be reported.
    pub(crate) reports: bool,
}

impl Supervise {
    /// Reads the arguments behind `supervise`; `None` when they make no sense.
    pub(crate) fn read(arguments: &[&str]) -> Option<Self> {
        let (mut grace, mut reports) = (GRACE, true);
        let mut rest = arguments;
        loop {
            rest = match rest {
                ["--grace-seconds", seconds, rest @ ..] => {
                    grace = Duration::from_secs(seconds.parse().ok()?);
                    rest
                }
                ["--no-report", rest @ ..] => {
                    reports = false;
                    rest
                }
                ["--", command @ ..] if !command.is_empty() => {
                    let command = command.iter().map(|&word| word.to_owned()).collect();
                    return Some(Self { order: Order { command, grace }, reports });
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["--", "python", "main.py"], 60, true)]
    #[case(&["--grace-seconds", "5", "--", "python", "main.py"], 5, true)]
    #[case(&["--no-report", "--grace-seconds", "0", "--", "python", "main.py"], 0, false)]
    fn orders(#[case] arguments: &[&str], #[case] grace: u64, #[case] reports: bool) {
        let command = vec!["python".to_owned(), "main.py".to_owned()];
        let order = Order { command, grace: Duration::from_secs(grace) };
        assert_eq!(Supervise::read(arguments), Some(Supervise { order, reports }));
    }

    #[rstest]
    #[case(&[])]
    #[case(&["--"])]
    #[case(&["python", "main.py"])]
    #[case(&["--grace-seconds", "soon", "--", "true"])]
    #[case(&["--reports", "--", "true"])]
    fn nonsense(#[case] arguments: &[&str]) {
        assert_eq!(Supervise::read(arguments), None);
    }
}
