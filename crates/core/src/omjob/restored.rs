//! Runs that a backup brings back. Backup tools restore specifications without status, so that a run of last
//! week looks like a new one. What it was is therefore written into its metadata too, with the UID that
//! it had: one that comes back has another.

use super::{End, Phase, Status};

/// Annotation of an `OMJob` that has ended.
pub const ENDED: &str = "pipelines.openmetadata.org/ended";

/// Its value, for a run that ended in `phase`. The name tells a restored object from a copy that somebody
/// made to run it again.
#[must_use]
pub fn ended_value(phase: Phase, name: &str, uid: &str) -> String {
    format!("{phase} {name} {uid}")
}

/// The status of an `OMJob` that has none, if this annotation says that it has ended before.
#[must_use]
pub fn of_restored(ended: &str, name: &str, uid: &str) -> Option<Status> {
    let mut words = ended.split(' ');
    let phase = match words.next()? {
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        _ => return None,
    };
    let (of, former) = (words.next()?, words.next()?);
    if of != name || former == uid || former.is_empty() {
        return None;
    }
    let mut status = Status { phase, ..Status::default() };
    let exit_code = (phase == Phase::Succeeded).then_some(0);
    let message = format!("it ended before it was restored, as the annotation {ENDED} says");
    status.main.end = Some(End { message, ..End::adopted(exit_code) });
    Some(status)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::restored("Failed run u1", Some(Phase::Failed))]
    #[case::well("Succeeded run u1", Some(Phase::Succeeded))]
    #[case::the_same_object("Failed run u2", None)]
    #[case::a_copy_of_another_name("Failed other u1", None)]
    #[case::unfinished("Running run u1", None)]
    #[case::something_else("yes", None)]
    #[case::nothing("", None)]
    fn only_what_ended_and_came_back_is_over(#[case] ended: &str, #[case] phase: Option<Phase>) {
        assert_eq!(of_restored(ended, "run", "u2").map(|status| status.phase), phase);
    }

    #[test]
    fn what_is_written_is_read() {
        let value = ended_value(Phase::Succeeded, "run", "u1");
        let status = of_restored(&value, "run", "u2").unwrap();
        assert_eq!(status.phase, Phase::Succeeded);
        assert_eq!(status.main.end.unwrap().exit_code, Some(0));
    }
}
