//! What can go wrong, in words that name the setting to look at and no secret.

use crate::store::Kind;

/// What an operation comes to.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not answer, or fails.
    #[error("the archive of logs: {}", brief(.0))]
    Store(object_store::Error),
    /// The store refuses the caller.
    #[error("the archive of logs: the store refuses access: check {settings} ({})", brief(.source))]
    Refused {
        /// The settings that say who calls.
        settings: &'static str,
        /// What the store answered.
        source: object_store::Error,
    },
    /// The bucket or container does not exist.
    #[error("the archive of logs: check LOGS_ARCHIVE_URL: its bucket does not exist ({})", brief(.0))]
    NoBucket(object_store::Error),
    /// Another writer has stored the same log further; this one has to begin anew.
    #[error("another writer has stored this log meanwhile")]
    Overtaken,
    /// What is stored is not what was written.
    #[error("the archive of logs: {object} is damaged: {why}")]
    Damaged {
        /// Name of the object.
        object: String,
        /// What is wrong with it.
        why: String,
    },
    /// An object that the index names is not there.
    #[error("the archive of logs: {0} is missing")]
    Missing(String),
    /// There is no such page.
    #[error(transparent)]
    Page(#[from] ompipe_core::logs::PageError),
}

/// Why a URL names no archive.
#[derive(Debug, thiserror::Error)]
pub enum BadUrl {
    /// It is no URL.
    #[error("must be a URL such as s3://bucket/prefix or file:///var/lib/ompipe")]
    NotAUrl,
    /// Its scheme is another one.
    #[error("must begin with s3://, gs://, az:// or file://")]
    Scheme,
    /// It has a user or a query.
    #[error("must not have a user or a query; credentials are given by the environment")]
    Extra,
    /// The client of the store cannot use it with the settings that it has.
    #[error("cannot be used{}: {}", with(.settings), brief(.source))]
    Unusable {
        /// Names of the variables that are set.
        settings: Vec<String>,
        /// Why not.
        source: object_store::Error,
    },
}

impl Error {
    /// What a failed request to a store comes to.
    pub(crate) fn of(kind: Option<Kind>, source: object_store::Error) -> Self {
        let settings = kind.map_or("the credentials", Kind::credentials);
        if is_refusal(&source) {
            Self::Refused { settings, source }
        } else if code_of(&source).is_some_and(|code| NO_BUCKET.contains(&code.as_str())) {
            Self::NoBucket(source)
        } else {
            Self::Store(source)
        }
    }
}

/// Codes of stores that lack the bucket or container.
const NO_BUCKET: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];
/// Codes of stores that lack the object only.
const NO_OBJECT: [&str; 2] = ["NoSuchKey", "BlobNotFound"];

/// Whether an object is not there. A store answers 404 too when the bucket is not, or the caller.
pub(crate) fn is_missing(error: &object_store::Error) -> bool {
    let is_of_object = |code: String| NO_OBJECT.contains(&code.as_str());
    matches!(error, object_store::Error::NotFound { .. }) && code_of(error).is_none_or(is_of_object)
}

/// The client tells refusals of lists apart by their text only.
fn is_refusal(error: &object_store::Error) -> bool {
    use object_store::Error::{Generic, PermissionDenied, Unauthenticated};
    match error {
        PermissionDenied { .. } | Unauthenticated { .. } => true,
        Generic { .. } => {
            let text = error.to_string();
            [": 403 Forbidden", ": 401 Unauthorized"].iter().any(|status| text.contains(status))
        }
        _ => false,
    }
}

/// The code in the XML with which a store explains an error.
fn code_of(error: &object_store::Error) -> Option<String> {
    let text = error.to_string();
    let (_, answer) = text.split_once("<Code>")?;
    answer.split_once('<').map(|(code, _)| code.to_owned())
}

/// An error in one line: of the XML with which a store explains itself, the code counts.
fn brief(error: &object_store::Error) -> String {
    const LONGEST: usize = 600;
    let text = error.to_string();
    let before = text.split('<').next().unwrap_or_default().trim_end().trim_end_matches(':');
    let before: String = before.chars().take(LONGEST).collect();
    match code_of(error) {
        Some(code) => format!("{before}: {code}"),
        None => before,
    }
}

fn with(settings: &[String]) -> String {
    if settings.is_empty() {
        return String::new();
    }
    format!(" with {}", settings.join(", "))
}
