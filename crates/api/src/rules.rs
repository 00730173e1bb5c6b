//! What the API server refuses, each with a sentence that says what is allowed
//! (`x-kubernetes-validations`, written in CEL).
//!
//! Only what could never work, or would be silently ignored, is refused: everything that runs under
//! upstream's definitions is accepted.

use kube::core::{Message, Reason, Rule};

/// A run does what it was made for. While it is suspended no main pod of it lives, so that the next
/// one may be another.
pub(crate) fn main_pod_stays() -> Rule {
    stays("mainPodSpec", "self.spec.mainPodSpec == oldSelf.spec.mainPodSpec")
}

/// As [`main_pod_stays`]; the exit handler may not come or go either.
pub(crate) fn exit_handler_stays() -> Rule {
    let same = "has(self.spec.exitHandlerSpec) == has(oldSelf.spec.exitHandlerSpec) && \
        (!has(self.spec.exitHandlerSpec) || self.spec.exitHandlerSpec == oldSelf.spec.exitHandlerSpec)";
    stays("exitHandlerSpec", same)
}

fn stays(field: &str, same: &str) -> Rule {
    let suspended = "(has(oldSelf.spec.suspend) && oldSelf.spec.suspend)";
    Rule::new(format!("{suspended} || ({same})"))
        .message(
            format!("{field} may change only while spec.suspend is true; make a new OMJob")
                .as_str(),
        )
        .field_path(format!(".spec.{field}"))
        .reason(Reason::FieldValueForbidden)
}

/// A phase never goes back, and a terminal one is final.
pub(crate) fn phase_never_goes_back() -> Rule {
    let rule = "self == oldSelf || oldSelf == 'Pending' || (oldSelf == 'Running' && self != 'Pending') \
        || (oldSelf == 'ExitHandlerRunning' && self in ['Succeeded', 'Failed'])";
    Rule::new(rule)
        .message("a phase never goes back, and Succeeded and Failed are final")
        .reason(Reason::FieldValueForbidden)
}

/// Five fields or a macro; what stands in them is the operator's to read.
pub(crate) fn schedule_has_five_fields() -> Rule {
    let remedy = "must have five fields (minute, hour, day of month, month, day of week), \
        or be @hourly, @daily, @weekly, @monthly or @yearly";
    Rule::new(r"self.matches('^\\s*(@[a-zA-Z]+|\\S+(\\s+\\S+){4})\\s*$')")
        .message(Message::Expression(format!("'\"' + self + '\" {remedy}'")))
}

/// Kubernetes refuses a pod with such a variable.
pub(crate) fn variable_has_one_source() -> Rule {
    let rule = "!has(self.valueFrom) || [has(self.value) && self.value != '', \
        has(self.valueFrom.configMapKeyRef), has(self.valueFrom.secretKeyRef), \
        has(self.valueFrom.fieldRef), has(self.valueFrom.resourceFieldRef)].filter(given, given).size() <= 1";
    Rule::new(rule).message(
        "must have value or one of valueFrom.configMapKeyRef, secretKeyRef, fieldRef and \
         resourceFieldRef, not several",
    )
}

/// Kubernetes refuses a pod with such a toleration.
pub(crate) fn toleration_is_possible() -> [Rule; 3] {
    [
        Rule::new("!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''")
            .message("must have no value when operator is Exists")
            .field_path(".value"),
        Rule::new("(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')")
            .message("must be Exists when key is empty")
            .field_path(".operator"),
        Rule::new("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')")
            .message("must be NoExecute when tolerationSeconds is given")
            .field_path(".effect"),
    ]
}

/// Kubernetes refuses a pod with another word.
pub(crate) fn pull_policy_is_known() -> Rule {
    Rule::new("self in ['Always', 'IfNotPresent', 'Never']")
        .message("must be Always, IfNotPresent or Never")
}
