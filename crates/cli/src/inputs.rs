//! Files and environment: everything that comes in beside the arguments.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use ompipe_client::{K8sPipelineClient, Preparation};
use ompipe_core::config::{Checked, K8sPipelineClientConfig, SERVER_SECTION};
use ompipe_core::{
    AutomationWorkflow, ConfigOverrides, IngestionPipeline, Problem, Problems, Service, yaml,
};
use ompipe_server::settings::{ServeArgs, Settings};
use secrecy::SecretString;
use serde_json::Value;

use crate::args::{Args, Source};
use crate::failure::Failure;
use crate::output;

/// Variable with the ingestion bot's token.
const TOKEN_VARIABLE: &str = "OPENMETADATA_JWT_TOKEN";

/// The configuration that the arguments lead to, with its notices.
pub(crate) fn check_config(args: &Args) -> Result<Checked, Failure> {
    let document = document(args)?;
    let checked = read_config(args, &document);
    if document[SERVER_SECTION].is_null() {
        return Ok(checked?);
    }
    let (checked, _) = both(checked, Settings::read(&document, &ServeArgs::default()))?;
    Ok(checked)
}

/// Two halves of an input, or the problems of both at once.
fn both<A, B>(a: Result<A, Problems>, b: Result<B, Problems>) -> Result<(A, B), Problems> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(mut problems), Err(others)) => {
            problems.list.extend(others.list);
            Err(problems)
        }
        (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => Err(problems),
    }
}

/// The configuration file, as it is.
fn document(args: &Args) -> Result<Value, Failure> {
    args.config.as_deref().map_or(Ok(Value::Null), read_document)
}

fn read_config(args: &Args, document: &Value) -> Result<Checked, Problems> {
    let mut checked = K8sPipelineClientConfig::read(document, &environment())?;
    if let Some(namespace) = &args.namespace {
        checked.config.namespace = namespace.parse().map_err(|remedy: &str| {
            let problem = Problem::new("--namespace", &namespace.as_str().into(), remedy);
            Problems::one("arguments", problem)
        })?;
    }
    Ok(checked)
}

/// As [`check_config`], with the notices told to the user.
pub(crate) fn config(args: &Args) -> Result<K8sPipelineClientConfig, Failure> {
    let checked = check_config(args)?;
    for notice in checked.notices {
        output::note(format_args!("note: {notice}"));
    }
    Ok(checked.config)
}

/// What `ompipe serve` runs with.
pub(crate) struct ServeInputs {
    /// How it serves.
    pub(crate) settings: Settings,
    /// How pipelines run.
    pub(crate) config: K8sPipelineClientConfig,
    /// Values of the configuration that were translated or have no effect.
    pub(crate) notices: Vec<Problem>,
    /// The bot's token.
    pub(crate) token: Option<SecretString>,
}

/// Both halves of the configuration; the problems of both at once.
pub(crate) fn serve(args: &Args, serve: &ServeArgs) -> Result<ServeInputs, Failure> {
    let document = document(args)?;
    let (checked, settings) = both(read_config(args, &document), Settings::read(&document, serve))?;
    let Checked { config, notices } = checked;
    Ok(ServeInputs { settings, config, notices, token: token(args)? })
}

/// A client of the configured cluster.
pub(crate) async fn client(args: &Args) -> Result<K8sPipelineClient, Failure> {
    let (config, token) = (config(args)?, token(args)?);
    Ok(K8sPipelineClient::connect(config, token).await?)
}

/// The pipeline and service of a command that takes them from files or the server.
pub(crate) async fn source(
    source: &Source,
    preparation: &Preparation,
) -> Result<(IngestionPipeline, Option<Service>), Failure> {
    let service = service(source.service.as_deref())?;
    let pipeline = match (&source.definition.file, &source.definition.fqn) {
        (Some(file), _) => pipeline(file)?,
        (None, Some(fqn)) => preparation.fetch_pipeline(fqn).await?,
        (None, None) => return Err(Failure::usage("give a pipeline with --file or --fqn")),
    };
    Ok((pipeline, service))
}

/// The pipeline in a file.
pub(crate) fn pipeline(file: &Path) -> Result<IngestionPipeline, Failure> {
    Ok(IngestionPipeline::read(&read_document(file)?)?)
}

/// The service in a file, if one is given.
pub(crate) fn service(file: Option<&Path>) -> Result<Option<Service>, Failure> {
    let read = |file| Ok(Service::read(&read_document(file)?)?);
    file.map(read).transpose()
}

/// What a run has different, if a file says so.
pub(crate) fn overrides(file: Option<&Path>) -> Result<ConfigOverrides, Failure> {
    let read = |file| Ok(ConfigOverrides::read(&read_document(file)?)?);
    file.map_or_else(|| Ok(ConfigOverrides::default()), read)
}

/// The automation workflow in a file.
pub(crate) fn automation(file: &Path) -> Result<AutomationWorkflow, Failure> {
    Ok(AutomationWorkflow::read(&read_document(file)?)?)
}

/// The bot's token: from the file, else from the environment.
pub(crate) fn token(args: &Args) -> Result<Option<SecretString>, Failure> {
    let text = match &args.token_file {
        Some(file) => Some(read_text(file)?),
        None => std::env::var(TOKEN_VARIABLE).ok(),
    };
    let trimmed = text.map(|text| text.trim().to_owned());
    Ok(trimmed.filter(|token| !token.is_empty()).map(SecretString::from))
}

/// Variables that are not text are not ours.
fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn read_document(file: &Path) -> Result<Value, Failure> {
    let in_file = |error| Failure::usage(format_args!("{}: {error}", file.display()));
    yaml::parse(&read_text(file)?).map_err(in_file)
}

/// A file, or stdin for `-`; no more than a document may have.
fn read_text(file: &Path) -> Result<String, Failure> {
    let limit = yaml::MAX_BYTES as u64 + 1;
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", file.display())))?;
    Ok(text)
}
