//! Files and environment: everything that comes in beside the arguments.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use ompipe_archive::Archive;
use ompipe_client::{ConfigSource, K8sPipelineClient, Preparation};
use ompipe_core::config::{
    CertificateAuthority, Checked, ClusterAccess, EffectiveValue, K8sPipelineClientConfig, Origin,
    effective, resolve_variables, server_section,
};
use ompipe_core::{
    AutomationWorkflow, ConfigOverrides, IngestionPipeline, Problem, Problems, Service,
    endpoint_hint, yaml,
};
use ompipe_server::settings::{ServeArgs, Settings};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::args::{Args, DeploySource, Source};
use crate::failure::Failure;
use crate::output;

/// Variable with the ingestion bot's token.
const TOKEN_VARIABLE: &str = "OPENMETADATA_JWT_TOKEN";

/// The configuration that the arguments lead to, with its notices.
pub(crate) fn check_config(args: &Args) -> Result<Checked, Failure> {
    let document = document(args)?;
    let checked = read_config(args, &document);
    if server_section(&document).is_none() {
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

/// Reads the configuration that is kept in the cluster, if one is asked for. Everything after this
/// finds it in the arguments.
pub(crate) async fn fetch_config(args: &Args) -> Result<(), Failure> {
    let Some(from) = &args.config_from else { return Ok(()) };
    let source: ConfigSource = from.parse().map_err(|remedy: &str| {
        let problem = Problem::new("--config-from", &from.as_str().into(), remedy);
        Problems::one("arguments", problem)
    })?;
    let fetched = source.read(&typed_access(args, ClusterAccess::Inferred)).await?;
    args.fetched.get_or_init(|| fetched);
    Ok(())
}

/// A configuration that names no namespace means its own, which the chart's server learns from its pod.
fn at_home(mut document: Value, namespace: &str) -> Value {
    let block = document.get_mut("pipelineServiceClientConfiguration");
    let block = block.and_then(Value::as_object_mut);
    let parameters = block.map(|block| block.entry("parameters").or_insert_with(|| json!({})));
    if let Some(parameters) = parameters.and_then(Value::as_object_mut) {
        parameters.entry("namespace").or_insert_with(|| namespace.into());
    }
    document
}

/// The configuration, its variables resolved.
fn document(args: &Args) -> Result<Value, Failure> {
    if let Some((text, namespace)) = args.fetched.get() {
        let text = resolve_variables(text.expose_secret(), &environment());
        let place = args.config_from.as_deref().unwrap_or_default();
        let document = yaml::parse(&text);
        let document = document.map_err(|e| Failure::usage(format_args!("{place}: {e}")))?;
        return Ok(at_home(document, namespace));
    }
    let Some(file) = args.config.as_deref() else {
        return Ok(Value::Null);
    };
    let text = resolve_variables(&read_text(file)?, &environment());
    yaml::parse(&text).map_err(|error| Failure::usage(format_args!("{}: {error}", file.display())))
}

fn read_config(args: &Args, document: &Value) -> Result<Checked, Problems> {
    let mut checked = K8sPipelineClientConfig::read(document, &environment())?;
    if let Some(namespace) = &args.namespace {
        checked.config.namespace = namespace.parse().map_err(|remedy: &str| {
            let problem = Problem::new("--namespace", &namespace.as_str().into(), remedy);
            Problems::one("arguments", problem)
        })?;
    }
    choose_cluster(args, &mut checked.config);
    checked.config.caller_endpoint = caller_endpoint(args)?;
    if let Some(notice) = read_authority(&mut checked.config) {
        checked.notices.push(notice);
    }
    Ok(checked)
}

/// Where this machine reaches OpenMetadata, if that was typed.
fn caller_endpoint(args: &Args) -> Result<Option<String>, Problems> {
    let Some(server) = &args.server else { return Ok(None) };
    let refused = |remedy: &str| {
        Problems::one("arguments", Problem::new("--server", &server.as_str().into(), remedy))
    };
    if !server.starts_with("http://") && !server.starts_with("https://") {
        return Err(refused("must be a URL such as http://localhost:8585/api"));
    }
    match endpoint_hint(server) {
        Some(hint) => Err(refused(&hint)),
        None => Ok(Some(server.clone())),
    }
}

/// What was typed goes before what is configured. Whoever names a kubeconfig or a context does not
/// mean the service account of a pod.
fn choose_cluster(args: &Args, config: &mut K8sPipelineClientConfig) {
    let configured = match std::mem::take(&mut config.cluster) {
        // What a pod is told about its own way is not the way to the cluster that told it.
        _ if args.fetched.get().is_some() => ClusterAccess::Inferred,
        configured => configured,
    };
    config.cluster = typed_access(args, configured);
}

/// The way to the cluster that was typed, else the one that is configured.
fn typed_access(args: &Args, configured: ClusterAccess) -> ClusterAccess {
    let file = args.kubeconfig.as_ref().map(|file| ClusterAccess::File(file.display().to_string()));
    let access = file.unwrap_or(configured);
    match (&args.context, access) {
        (None, access) => access,
        (Some(context), ClusterAccess::InCluster) => {
            ClusterAccess::Context(Box::new(ClusterAccess::Inferred), context.clone())
        }
        (Some(context), access) => ClusterAccess::Context(Box::new(access), context.clone()),
    }
}

/// Reads the certificate authority's file, if it is here: then pods get it from us. Otherwise it is
/// one of the workers' image.
fn read_authority(config: &mut K8sPipelineClientConfig) -> Option<Problem> {
    let Some(CertificateAuthority::File(path)) = &config.certificate_authority else {
        return None;
    };
    let read = read_text(path).ok().filter(|text| text.contains("-----BEGIN"));
    let Some(pem) = read else {
        let remedy = "names no file with certificates here, so it has to be in the workers' image, \
                      and ompipe itself trusts the system's authorities only";
        let shown = path.display().to_string();
        return Some(Problem::new("sslConfig", &shown.into(), remedy));
    };
    config.certificate_authority = Some(CertificateAuthority::Pem(pem));
    None
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

/// As [`check_config`], for a caller who has no eyes for notices.
pub(crate) fn config_quietly(args: &Args) -> Result<K8sPipelineClientConfig, Failure> {
    Ok(check_config(args)?.config)
}

/// Every value of the configuration with its origin, of one that is right.
pub(crate) fn effective_config(args: &Args) -> Result<Vec<EffectiveValue>, Failure> {
    let document = document(args)?;
    let config = read_config(args, &document)?.config;
    let mut values = effective(&document, &environment());
    let mut typed = |key: &str, option: &'static str, value: Option<String>| {
        let known = values.iter_mut().find(|known| known.key == key);
        if let (Some(known), Some(value)) = (known, value) {
            (known.value, known.origin) = (value.into(), Origin::Argument(option));
        }
    };
    let namespace = args.namespace.as_ref().map(|_| config.namespace.to_string());
    typed("parameters.namespace", "--namespace", namespace);
    let kubeconfig = args.kubeconfig.as_ref().map(|file| file.display().to_string());
    typed("parameters.kubeconfigPath", "--kubeconfig", kubeconfig);
    Ok(values)
}

/// A client of the configured cluster.
pub(crate) async fn client(args: &Args) -> Result<K8sPipelineClient, Failure> {
    let (config, token) = (config(args)?, token(args)?);
    let (archive, masks) = (archive(args)?, masks_logs(args)?);
    let client = K8sPipelineClient::connect(config, token).await?;
    Ok(client.with_archive(archive).with_masked_logs(masks))
}

/// Whether the secrets of a run are masked in its log.
pub(crate) fn masks_logs(args: &Args) -> Result<bool, Failure> {
    let Some(text) = args.logs_redact.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(true);
    };
    text.parse().map_err(|_| {
        let problem = Problem::new("--logs-redact", &text.into(), "must be true or false");
        Problems::one("arguments", problem).into()
    })
}

/// Where logs and records of runs are archived.
pub(crate) fn archive(args: &Args) -> Result<Option<Archive>, Failure> {
    let Some(url) = &args.logs_archive_url else { return Ok(None) };
    Archive::from_environment(url).map(Some).map_err(|error| {
        let problem = Problem::new("--logs-archive-url", &url.as_str().into(), error.to_string());
        Problems::one("arguments", problem).into()
    })
}

/// As [`client`], without a word.
pub(crate) async fn client_quietly(args: &Args) -> Result<K8sPipelineClient, Failure> {
    Ok(K8sPipelineClient::connect(config_quietly(args)?, token(args)?).await?)
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

/// The pipelines to deploy, each with what to call it in a message, and their service.
pub(crate) async fn sources(
    source: &DeploySource,
    preparation: &Preparation,
) -> Result<Vec<(IngestionPipeline, Option<Service>)>, Failure> {
    let service = service(source.service.as_deref())?;
    let mut all = Vec::new();
    for file in &source.definitions.file {
        all.extend(pipelines(file)?);
    }
    for fqn in &source.definitions.fqn {
        all.push(preparation.fetch_pipeline(fqn).await?);
    }
    Ok(all.into_iter().map(|pipeline| (pipeline, service.clone())).collect())
}

/// The pipelines of a file with one or several documents, or of the files of a directory.
pub(crate) fn pipelines(path: &Path) -> Result<Vec<IngestionPipeline>, Failure> {
    let files = if path.is_dir() { files_in(path)? } else { vec![path.to_owned()] };
    let mut all = Vec::new();
    for file in &files {
        let documents =
            yaml::parse_all(&read_text(file)?).map_err(|error| in_file(file, &error))?;
        if documents.is_empty() {
            return Err(Failure::usage(format_args!("{} is empty", name_of(file))));
        }
        let has_several = files.len() + documents.len() > 2;
        for document in documents {
            let read = IngestionPipeline::read_file(&document).map_err(Failure::from);
            let placed = |failure: Failure| failure.hinting(&format!("It is in {}", name_of(file)));
            all.push(if has_several { read.map_err(placed)? } else { read? });
        }
    }
    Ok(all)
}

/// The YAML and JSON files of a directory, by name.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::usage(format_args!("cannot read {}: {error}", directory.display()))
    };
    let is_document = |path: &PathBuf| {
        path.extension()
            .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
    };
    let entries = std::fs::read_dir(directory).map_err(unreadable)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut files = paths.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    files.retain(is_document);
    files.sort();
    if files.is_empty() {
        let told = format!("{} has no file .yaml, .yml or .json", directory.display());
        return Err(Failure::usage(told));
    }
    Ok(files)
}

/// What a file is called in messages.
fn name_of(file: &Path) -> String {
    if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() }
}

fn in_file(file: &Path, error: &yaml::Error) -> Failure {
    Failure::usage(format_args!("{}: {error}", name_of(file)))
}

/// The pipeline in a file.
pub(crate) fn pipeline(file: &Path) -> Result<IngestionPipeline, Failure> {
    Ok(IngestionPipeline::read_file(&read_document(file)?)?)
}

/// The service in a file, if one is given.
pub(crate) fn service(file: Option<&Path>) -> Result<Option<Service>, Failure> {
    let read = |file| Ok(Service::read_file(&read_document(file)?)?);
    file.map(read).transpose()
}

/// What a run has different, if a file says so.
pub(crate) fn overrides(file: Option<&Path>) -> Result<ConfigOverrides, Failure> {
    let read = |file| Ok(ConfigOverrides::read_file(&read_document(file)?)?);
    file.map_or_else(|| Ok(ConfigOverrides::default()), read)
}

/// The automation workflow in a file.
pub(crate) fn automation(file: &Path) -> Result<AutomationWorkflow, Failure> {
    Ok(AutomationWorkflow::read(&read_document(file)?)?)
}

/// The bot's token: from the file, else from the environment.
pub(crate) fn token(args: &Args) -> Result<Option<SecretString>, Failure> {
    let text = match args.token_file.as_deref() {
        Some(file) => Some(read_text(file)?),
        None => std::env::var(TOKEN_VARIABLE).ok(),
    };
    let trimmed = text.map(|text| text.trim().to_owned());
    let token = trimmed.filter(|token| !token.is_empty());
    if let Some(fault) = token.as_deref().and_then(fault_of_token) {
        return Err(Failure::usage(format!("the bot's token {fault}; give the token alone")));
    }
    Ok(token.map(SecretString::from))
}

/// What keeps a text from being a token, which nobody would find out from the server's 401.
fn fault_of_token(text: &str) -> Option<&'static str> {
    let is_scheme = |word: &str| word.eq_ignore_ascii_case("bearer");
    match text {
        _ if text.starts_with('\u{feff}') => Some("begins with a byte order mark"),
        _ if text.starts_with(['"', '\'']) => Some("is in quotes"),
        _ if text.split_whitespace().next().is_some_and(is_scheme) => {
            Some("begins with the word Bearer")
        }
        _ if text.contains(char::is_whitespace) => Some("has white space in it"),
        _ => None,
    }
}

/// Variables that are not text are not ours.
fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn read_document(file: &Path) -> Result<Value, Failure> {
    yaml::parse(&read_text(file)?).map_err(|error| in_file(file, &error))
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::token("eyJhbGciOi.eyJzdWIi.c2ln", None)]
    #[case::byte_order_mark("\u{feff}eyJ", Some("begins with a byte order mark"))]
    #[case::quotes("\"eyJ\"", Some("is in quotes"))]
    #[case::header("Bearer eyJ", Some("begins with the word Bearer"))]
    #[case::two_lines("eyJ\neyK", Some("has white space in it"))]
    fn what_is_no_token_is_named(#[case] text: &str, #[case] fault: Option<&str>) {
        assert_eq!(fault_of_token(text), fault);
    }
}
