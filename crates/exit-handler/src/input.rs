//! What the exit handler is given (docs/contracts/upstream-java-client.md#environment-variables).

use std::fs;
use std::time::Duration;

use ompipe_core::RunId;
use ompipe_core::config::CONFIG_FILE_ENV;
use ompipe_core::omjob::End;
use ompipe_core::report::{
    DEADLINE_ENV, PIPELINE_STATUS_ENV, Recipient, Subject, TOKEN_ENV, end_told,
};
use ompipe_core::workflow::CONFIG_ENV;
use secrecy::SecretString;

use crate::Error;

/// What is to be reported, and where.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) recipient: Recipient,
    pub(crate) run: EndedSubject,
    /// The exact end, if the operator gives it.
    pub(crate) told: Option<End>,
    /// `pipelineStatus`: whether the run ended well, as far as the orchestrator knows.
    pub(crate) succeeded: Option<bool>,
    pub(crate) job: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) deadline: Duration,
}

/// What ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndedSubject {
    Run { pipeline_fqn: String, id: RunId },
    Automation { fqn: String },
}

impl Input {
    /// Reads the environment; an empty variable counts as none. `deadline` holds where it says none.
    pub(crate) fn read(
        variable: impl Fn(&str) -> Option<String>,
        deadline: Duration,
    ) -> Result<Self, Error> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let token = variable(TOKEN_ENV).map(SecretString::from);
        let recipient = Recipient::read_with(&config(variable)?, token.as_ref())?;
        Ok(Self {
            run: subject(&recipient, variable)?,
            recipient,
            told: end_told(variable),
            succeeded: variable(PIPELINE_STATUS_ENV).map(|status| is_success(&status)),
            job: variable("jobName"),
            namespace: variable("namespace"),
            deadline: deadline_told(variable)?.unwrap_or(deadline),
        })
    }
}

fn config(variable: impl Fn(&str) -> Option<String>) -> Result<String, Error> {
    match variable(CONFIG_FILE_ENV) {
        Some(path) => {
            fs::read_to_string(&path).map_err(|source| Error::ConfigFile { path, source })
        }
        None => variable(CONFIG_ENV).ok_or(Error::NoConfig),
    }
}

fn subject(
    recipient: &Recipient,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<EndedSubject, Error> {
    let named = || variable("ingestionPipelineFQN").map(Subject::Pipeline);
    match recipient.subject.clone().or_else(named).ok_or(Error::NoSubject)? {
        Subject::Automation(fqn) => Ok(EndedSubject::Automation { fqn }),
        Subject::Pipeline(pipeline_fqn) => {
            let id = variable("pipelineRunId").ok_or(Error::NoRunId)?;
            let id = id.parse().map_err(|_| Error::BadRunId(id))?;
            Ok(EndedSubject::Run { pipeline_fqn, id })
        }
    }
}

/// Upstream's operator says `success`, Kubernetes `Succeeded`; anything else is no success.
fn is_success(status: &str) -> bool {
    matches!(status, "success" | "Succeeded")
}

fn deadline_told(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Duration>, Error> {
    let Some(value) = variable(DEADLINE_ENV) else {
        return Ok(None);
    };
    let seconds = value.trim().parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .map(Some)
        .ok_or(Error::BadDeadline { name: DEADLINE_ENV, value })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ompipe_core::omjob::Reason;
    use ompipe_core::report::REASON_ENV;
    use rstest::rstest;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(40);
    const RUN: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";
    const CONFIG: &str = "{ingestionPipelineFQN: shop.nightly, workflowConfig: \
        {openMetadataServerConfig: {hostPort: 'http://om/api', securityConfig: {jwtToken: t}}}}";

    /// The seed's environment; `changes` set or, with an empty value, unset.
    fn read(changes: &[(&str, &str)]) -> Result<Input, Error> {
        let all = [
            ("config", CONFIG),
            ("pipelineRunId", RUN),
            ("pipelineStatus", "Failed"),
            ("jobName", "om-job-nightly-a1b2c3d4"),
            ("namespace", "n"),
        ];
        let variables: HashMap<_, _> = all.into_iter().chain(changes.iter().copied()).collect();
        Input::read(|name| variables.get(name).map(|value| (*value).to_owned()), DEADLINE)
    }

    #[test]
    fn the_seeds_environment_suffices() {
        let input = read(&[]).unwrap();
        let pipeline_fqn = "shop.nightly".to_owned();
        assert_eq!(input.run, EndedSubject::Run { pipeline_fqn, id: RUN.parse().unwrap() });
        assert_eq!((input.told, input.succeeded), (None, Some(false)));
        assert_eq!(input.job.as_deref(), Some("om-job-nightly-a1b2c3d4"));
        assert_eq!(input.deadline, DEADLINE);
    }

    #[test]
    fn the_exact_end_is_taken_over() {
        let input = read(&[(REASON_ENV, "OOMKilled"), (DEADLINE_ENV, "5")]).unwrap();
        assert_eq!(input.told.unwrap().reason, Reason::OomKilled);
        assert_eq!(input.deadline, Duration::from_secs(5));
    }

    #[rstest]
    #[case("success", true)]
    #[case("Succeeded", true)]
    #[case("Failed", false)]
    #[case("failed", false)]
    #[case("x", false)]
    fn pipeline_status(#[case] status: &str, #[case] expected: bool) {
        assert_eq!(read(&[("pipelineStatus", status)]).unwrap().succeeded, Some(expected));
    }

    #[test]
    fn the_config_may_be_a_file_and_lack_the_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), CONFIG.replace("ingestionPipelineFQN", "other")).unwrap();
        let path = file.path().to_str().unwrap();
        let input = read(&[("configFile", path), ("ingestionPipelineFQN", "a.b")]).unwrap();
        let id = RUN.parse().unwrap();
        assert_eq!(input.run, EndedSubject::Run { pipeline_fqn: "a.b".to_owned(), id });
    }

    #[rstest]
    #[case(&[("config", " ")], "the variable config is missing or empty")]
    #[case(&[("config", "a: [")], "the config is not valid YAML")]
    #[case(&[("config", "a: 1")], "no hostPort of OpenMetadata")]
    #[case(&[("configFile", "/no/such/file")], "file /no/such/file, which configFile names")]
    #[case(&[("pipelineRunId", "")], "pipelineRunId is missing")]
    #[case(&[("pipelineRunId", "test-run")], "pipelineRunId = \"test-run\": must be a UUID")]
    #[case(&[(DEADLINE_ENV, "soon")], "OMPIPE_REPORT_SECONDS = \"soon\": must be")]
    fn what_is_wrong_is_told_on_one_line(#[case] changes: &[(&str, &str)], #[case] told: &str) {
        let error = read(changes).unwrap_err();
        assert!(error.is_input());
        let text = error.to_string();
        assert!(text.contains(told) && !text.contains('\n'), "{text}");
    }
}
