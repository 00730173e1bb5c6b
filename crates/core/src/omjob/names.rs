//! Names of an `OMJob`'s pods: `{omjob}-main`, `{omjob}-exit`, later attempts with their number.

use sha2::{Digest, Sha256};

use super::Stage;
use crate::kubernetes::MAX_LABEL;

/// Hex digits of the hash in a name that had to be cut.
const HASH_LENGTH: usize = 6;

/// The name of one attempt's pod: the same at every call, so that an attempt is made once.
#[must_use]
pub fn pod_name(omjob: &str, stage: Stage, attempt: u32) -> String {
    let suffix = match attempt {
        0 => format!("-{}", stage.as_str()),
        number => format!("-{}-{number}", stage.as_str()),
    };
    fit(omjob, &suffix)
}

/// Which attempt a pod of an `OMJob` is, by its name.
#[must_use]
pub fn attempt_of(omjob: &str, pod: &str) -> Option<(Stage, u32)> {
    [Stage::Main, Stage::Exit].into_iter().find_map(|stage| {
        let (_, number) = pod.rsplit_once(&format!("-{}", stage.as_str()))?;
        let attempt = match number.strip_prefix('-') {
            Some(number) => number.parse().ok()?,
            None => 0,
        };
        (pod_name(omjob, stage, attempt) == pod).then_some((stage, attempt))
    })
}

/// `omjob` and `suffix` in the length of a host name; a long `omjob` is cut and gets a hash.
fn fit(omjob: &str, suffix: &str) -> String {
    let room = MAX_LABEL - suffix.len();
    if omjob.len() <= room {
        return format!("{omjob}{suffix}");
    }
    let digest = hex::encode(Sha256::digest(omjob));
    let cut = &omjob[..omjob.floor_char_boundary(room - HASH_LENGTH - 1)];
    format!("{}-{}{suffix}", cut.trim_end_matches(['-', '.']), &digest[..HASH_LENGTH])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Stage::Main, 0, "om-job-p-a1b2c3d4-main")]
    #[case(Stage::Main, 2, "om-job-p-a1b2c3d4-main-2")]
    #[case(Stage::Exit, 0, "om-job-p-a1b2c3d4-exit")]
    #[case(Stage::Exit, 1, "om-job-p-a1b2c3d4-exit-1")]
    fn short_names_are_upstreams(#[case] stage: Stage, #[case] attempt: u32, #[case] name: &str) {
        assert_eq!(pod_name("om-job-p-a1b2c3d4", stage, attempt), name);
    }

    #[rstest]
    #[case("a-main", Some((Stage::Main, 0)))]
    #[case("a-exit-3", Some((Stage::Exit, 3)))]
    #[case("b-main", None)]
    #[case("a-main-03", None)]
    #[case("a-main-0", None)]
    #[case("a-sidecar", None)]
    fn foreign_names_are_no_attempts(#[case] pod: &str, #[case] expected: Option<(Stage, u32)>) {
        assert_eq!(attempt_of("a", pod), expected);
    }

    proptest! {
        #[test]
        fn names_are_short_distinct_and_read_back(
            omjob in "[a-z0-9]([a-z0-9-]{0,80}[a-z0-9])?", attempt in 0u32..2000,
        ) {
            for stage in [Stage::Main, Stage::Exit] {
                let name = pod_name(&omjob, stage, attempt);
                prop_assert!(name.parse::<crate::kubernetes::Namespace>().is_ok(), "{name}");
                prop_assert_eq!(attempt_of(&omjob, &name), Some((stage, attempt)));
            }
        }

        #[test]
        fn long_names_with_one_beginning_stay_apart(a in "[ab]{60,63}", b in "[ab]{60,63}") {
            prop_assume!(a != b);
            prop_assert_ne!(pod_name(&a, Stage::Main, 0), pod_name(&b, Stage::Main, 0));
        }
    }
}
