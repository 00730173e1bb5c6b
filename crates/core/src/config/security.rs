//! User, group and privileges of the pods
//! (docs/contracts/upstream-java-client.md#security-context).

use std::fmt::Display;
use std::str::FromStr;

use crate::fields::Fields;

/// What the pods run as. An id that is `None` is left to the image or the cluster, as OpenShift
/// needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSecurity {
    /// User id.
    pub run_as_user: Option<i64>,
    /// Group id.
    pub run_as_group: Option<i64>,
    /// Group of mounted files.
    pub fs_group: Option<i64>,
    /// Whether an image that runs as root is refused.
    pub run_as_non_root: bool,
    /// The seccomp profile, if one is asked for.
    pub seccomp: Option<SeccompProfile>,
}

/// A seccomp profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeccompProfile {
    /// The container runtime's.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// A file on the node.
    Localhost(String),
}

pub(super) fn security(fields: &mut Fields<'_>) -> PodSecurity {
    let run_as_user = id(fields, "runAsUser");
    let run_as_non_root = fields.boolean("runAsNonRoot").unwrap_or(true);
    if run_as_non_root && run_as_user == Some(0) {
        fields.note::<()>("runAsUser", "is root, which runAsNonRoot refuses; set one of the two");
    }
    PodSecurity {
        run_as_user,
        run_as_group: id(fields, "runAsGroup"),
        fs_group: id(fields, "fsGroup"),
        run_as_non_root,
        seccomp: seccomp(fields),
    }
}

/// A user or group id: 1000 by default, none when null is given.
fn id(fields: &mut Fields<'_>, key: &'static str) -> Option<i64> {
    const DEFAULT: i64 = 1000;
    if fields.is_null(key) {
        return None;
    }
    Some(fields.integer(key, 0..=i64::from(i32::MAX)).unwrap_or(DEFAULT))
}

fn seccomp(fields: &mut Fields<'_>) -> Option<SeccompProfile> {
    let kind = seccomp_type(fields);
    let file = non_blank::<String>(fields, "seccompLocalhostProfile");
    match (kind, file) {
        (Some(SeccompType::Localhost), Some(file)) => Some(SeccompProfile::Localhost(file)),
        (Some(SeccompType::Localhost), None) => {
            fields.missing("seccompLocalhostProfile", "seccompProfileType Localhost needs a file");
            None
        }
        (_, Some(_)) => {
            fields.note("seccompLocalhostProfile", "goes with seccompProfileType Localhost only")
        }
        (Some(SeccompType::RuntimeDefault), None) => Some(SeccompProfile::RuntimeDefault),
        (Some(SeccompType::Unconfined), None) => Some(SeccompProfile::Unconfined),
        (None, None) => None,
    }
}

/// The container runtime's profile by default, since Pod Security `restricted` asks for
/// one; null and blank text leave it out, as upstream does.
fn seccomp_type(fields: &mut Fields<'_>) -> Option<SeccompType> {
    const KEY: &str = "seccompProfileType";
    if fields.is_null(KEY) || fields.value(KEY).is_some() {
        return non_blank(fields, KEY);
    }
    Some(SeccompType::RuntimeDefault)
}

enum SeccompType {
    RuntimeDefault,
    Unconfined,
    Localhost,
}

impl FromStr for SeccompType {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "RuntimeDefault" => Ok(Self::RuntimeDefault),
            "Unconfined" => Ok(Self::Unconfined),
            "Localhost" => Ok(Self::Localhost),
            _ => Err("must be one of RuntimeDefault, Localhost, Unconfined"),
        }
    }
}

/// A value of which blank text means *unset*, as the Helm chart writes it.
fn non_blank<T: FromStr<Err: Display>>(fields: &mut Fields<'_>, key: &'static str) -> Option<T> {
    let blank = fields.value(key)?.as_str().is_some_and(|text| text.trim().is_empty());
    if blank { None } else { fields.parsed(key) }
}
