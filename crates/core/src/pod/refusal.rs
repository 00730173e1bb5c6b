//! Why the API server did not make a pod, and whether asking again can help.

use super::{Reason, Trouble};

/// Whether a refused creation is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lasting {
    /// It may succeed later as it is.
    ForNow,
    /// The same pod will be refused again.
    ForGood,
}

/// A creation that the API server refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// Whether to try again.
    pub lasting: Lasting,
    /// Why, in the API server's words.
    pub trouble: Trouble,
}

impl Refusal {
    /// Reads the API server's answer to a creation: HTTP code and message.
    ///
    /// What an administrator can put right without touching the run is for now: quota, rights of
    /// the operator, a missing service account. What only another pod spec can cure is for good.
    /// A code of 0 means that there was no answer.
    #[must_use]
    pub fn of_answer(code: u16, message: &str) -> Self {
        let says = |text: &str| message.contains(text);
        let (lasting, reason) = match code {
            // A policy's words are its author's, and may hold any of those below.
            400 | 403 | 422 if is_denial(message) => (Lasting::ForGood, Reason::Admission),
            // Only another specification, or another quota, helps.
            403 if says("failed quota") && says("must specify") => {
                (Lasting::ForGood, Reason::Admission)
            }
            403 | 404 if says("is being terminated") || says("namespaces \"") => {
                (Lasting::ForGood, Reason::NamespaceTerminating)
            }
            403 if says("exceeded quota") || says("failed quota") => {
                (Lasting::ForNow, Reason::Quota)
            }
            401 => (Lasting::ForNow, Reason::Admission),
            403 if says("cannot create resource") || says("service account") => {
                (Lasting::ForNow, Reason::Admission)
            }
            400 | 403 | 404 | 405 | 413 | 415 | 422 => (Lasting::ForGood, Reason::Admission),
            _ => (Lasting::ForNow, Reason::ApiUnavailable),
        };
        Self { lasting, trouble: Trouble::new(reason, message) }
    }
}

/// True when an admission webhook or a `ValidatingAdmissionPolicy` denied the request.
fn is_denial(message: &str) -> bool {
    let denied = message.contains("denied the request") || message.contains("denied request");
    let by =
        ["admission webhook \"", "ValidatingAdmissionPolicy '", "ValidatingAdmissionPolicy \""];
    denied && by.iter().any(|by| message.contains(by))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::quota(
        403,
        r#"pods "a-main" is forbidden: exceeded quota: q, requested: pods=1"#,
        Lasting::ForNow,
        Reason::Quota
    )]
    #[case::throttled(429, "too many requests", Lasting::ForNow, Reason::ApiUnavailable)]
    #[case::webhook_timeout(
        500,
        r#"failed calling webhook "w": context deadline exceeded"#,
        Lasting::ForNow,
        Reason::ApiUnavailable
    )]
    #[case::no_answer(0, "connection refused", Lasting::ForNow, Reason::ApiUnavailable)]
    #[case::rbac(
        403,
        r#"pods is forbidden: User "o" cannot create resource "pods""#,
        Lasting::ForNow,
        Reason::Admission
    )]
    #[case::service_account(
        403,
        r#"error looking up service account n/s: serviceaccount "s" not found"#,
        Lasting::ForNow,
        Reason::Admission
    )]
    #[case::webhook_denies(
        403,
        r#"admission webhook "w" denied the request: no"#,
        Lasting::ForGood,
        Reason::Admission
    )]
    #[case::webhook_about_service_accounts(
        403,
        r#"admission webhook "p" denied the request: pods must not use the default service account"#,
        Lasting::ForGood,
        Reason::Admission
    )]
    #[case::webhook_about_namespaces(
        403,
        r#"admission webhook "p" denied the request: image must come from namespaces "prod""#,
        Lasting::ForGood,
        Reason::Admission
    )]
    #[case::webhook_about_quotas(
        403,
        r#"admission webhook "p" denied the request: namespace x exceeded quota of GPUs"#,
        Lasting::ForGood,
        Reason::Admission
    )]
    #[case::policy_about_namespaces(
        422,
        r#"pods "a-main" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: image must come from namespaces "prod""#,
        Lasting::ForGood,
        Reason::Admission
    )]
    #[case::quota_wants_a_limit(
        403,
        r#"pods "a-main" is forbidden: failed quota: q: must specify limits.cpu for: main"#,
        Lasting::ForGood,
        Reason::Admission
    )]
    #[case::policy(
        403,
        r#"violates PodSecurity "restricted:latest""#,
        Lasting::ForGood,
        Reason::Admission
    )]
    #[case::invalid(
        422,
        r#"Pod "a-main" is invalid: spec.containers[0].image: Required"#,
        Lasting::ForGood,
        Reason::Admission
    )]
    #[case::namespace_ends(
        403,
        "unable to create new content in namespace n because it is being terminated",
        Lasting::ForGood,
        Reason::NamespaceTerminating
    )]
    #[case::namespace_gone(
        404,
        r#"namespaces "n" not found"#,
        Lasting::ForGood,
        Reason::NamespaceTerminating
    )]
    fn answers(
        #[case] code: u16,
        #[case] message: &str,
        #[case] lasting: Lasting,
        #[case] reason: Reason,
    ) {
        let refusal = Refusal::of_answer(code, message);
        assert_eq!((refusal.lasting, refusal.trouble.reason), (lasting, reason));
        assert_eq!(refusal.trouble.message, message);
    }
}
