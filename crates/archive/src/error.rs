//! What can go wrong.

/// What an operation comes to.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not answer, or refuses.
    #[error("the archive of logs: {0}")]
    Store(#[from] object_store::Error),
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
    /// The store's client cannot use it.
    #[error("cannot be used: {0}")]
    Unusable(#[from] object_store::Error),
}
