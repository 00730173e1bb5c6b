//! Faults on demand: which requests they hit, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::glob;

/// A disturbance of the requests that match it.
///
/// ```
/// use std::time::Duration;
/// use ompipe_tests::standin::Fault;
///
/// // The server stores the final status, and the client never hears of it: once.
/// let lost = Fault::reset()
///     .on("PUT", "*/pipelineStatus")
///     .with("pipelineState", "success")
///     .after_change()
///     .times(1);
/// // For ten seconds no table can be written.
/// let down = Fault::status(503).on("PUT", "*/tables/bulk").lasting(Duration::from_secs(10));
/// assert_ne!(lost, down);
/// ```
///
/// Over HTTP (`POST /standin/faults`) the first one is
/// `{"method": "PUT", "path": "*/pipelineStatus", "fields": {"pipelineState": "success"},
/// "effect": "reset", "afterChange": true, "times": 1}`, and the second one
/// `{"method": "PUT", "path": "*/tables/bulk", "effect": {"status": {"code": 503}}, "lastingMs": 10000}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default = "anywhere")]
    path: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, Value>,
    effect: Effect,
    #[serde(default)]
    after_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lasting_ms: Option<u64>,
}

/// What a fault does to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Answers with this status code.
    Status {
        /// The status code.
        code: u16,
        /// The body; without one, an error as OpenMetadata words it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    /// Answers as usual, this much later.
    DelayMs(u64),
    /// Cuts the connection with a TCP reset; no byte of an answer.
    Reset,
    /// Keeps the connection open and never answers.
    Hang,
}

impl Effect {
    /// One word for it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::DelayMs(_) => "delay",
            Self::Reset => "reset",
            Self::Hang => "hang",
        }
    }
}

fn anywhere() -> String {
    "*".to_owned()
}

impl Fault {
    /// A fault that hits every request until it is cleared.
    #[must_use]
    pub fn new(effect: Effect) -> Self {
        Self {
            method: None,
            path: anywhere(),
            fields: BTreeMap::new(),
            effect,
            after_change: false,
            times: None,
            lasting_ms: None,
        }
    }

    /// Answers with `code` and an error body as OpenMetadata words it.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::new(Effect::Status { code, body: None })
    }

    /// Answers with `code` and this body, as something in front of the server does.
    #[must_use]
    pub fn answer(code: u16, body: &str) -> Self {
        Self::new(Effect::Status { code, body: Some(body.to_owned()) })
    }

    /// Answers later.
    #[must_use]
    pub fn delay(by: Duration) -> Self {
        Self::new(Effect::DelayMs(millis(by)))
    }

    /// Cuts the connection.
    #[must_use]
    pub fn reset() -> Self {
        Self::new(Effect::Reset)
    }

    /// Never answers.
    #[must_use]
    pub fn hang() -> Self {
        Self::new(Effect::Hang)
    }

    /// Hits only requests with this method and path. The path is compared after percent-decoding and
    /// without its query; `*` in it stands for any characters.
    #[must_use]
    pub fn on(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.to_ascii_uppercase());
        path.clone_into(&mut self.path);
        self
    }

    /// Hits only requests whose JSON body has this value in this field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// Does its harm after the request was carried out, so that only the answer suffers.
    #[must_use]
    pub fn after_change(mut self) -> Self {
        self.after_change = true;
        self
    }

    /// Ends after that many hits.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Ends that long after it was injected.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasting_ms = Some(millis(time));
        self
    }

    fn hits(&self, request: &Request<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(request.method))
            && glob::matches(&self.path, request.path)
            && self.fits(request.body)
    }

    fn fits(&self, body: &[u8]) -> bool {
        if self.fields.is_empty() {
            return true;
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        self.fields.iter().all(|(field, value)| body.get(field) == Some(value))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What faults look at in a request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Percent-decoded, without the query.
    pub(crate) path: &'a str,
    pub(crate) body: &'a [u8],
}

/// A fault that hit, ready to be carried out.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) effect: Effect,
    pub(crate) after_change: bool,
}

/// The faults that are waiting for requests.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<Armed>,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    hits_left: u32,
    until_ms: i64,
}

impl Faults {
    /// Arms a fault.
    pub(crate) fn inject(&mut self, fault: Fault, now_ms: i64) {
        let lasting = fault.lasting_ms.map_or(i64::MAX, |ms| i64::try_from(ms).unwrap_or(i64::MAX));
        self.armed.push(Armed {
            hits_left: fault.times.unwrap_or(u32::MAX),
            until_ms: now_ms.saturating_add(lasting),
            fault,
        });
    }

    /// Disarms all.
    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    /// The faults that can still hit.
    pub(crate) fn list(&self, now_ms: i64) -> Vec<&Fault> {
        let live = self.armed.iter().filter(|armed| armed.is_live(now_ms));
        live.map(|armed| &armed.fault).collect()
    }

    /// The fault for this request: of those that match, the one that was injected first.
    pub(crate) fn take(&mut self, request: &Request<'_>, now_ms: i64) -> Option<Hit> {
        self.armed.retain(|armed| armed.is_live(now_ms));
        let armed = self.armed.iter_mut().find(|armed| armed.fault.hits(request))?;
        armed.hits_left -= 1;
        let fault = &armed.fault;
        Some(Hit { effect: fault.effect.clone(), after_change: fault.after_change })
    }
}

impl Armed {
    fn is_live(&self, now_ms: i64) -> bool {
        self.hits_left > 0 && now_ms < self.until_ms
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;
    use serde_json::json;

    use super::{Effect, Fault, Faults, Request};

    const PUT_STATUS: Request<'_> = Request {
        method: "PUT",
        path: "/api/v1/services/ingestionPipelines/shop_pg.nightly/pipelineStatus",
        body: br#"{"pipelineState": "success"}"#,
    };

    #[rstest]
    #[case(Fault::reset(), true)]
    #[case(Fault::reset().on("PUT", "*/pipelineStatus"), true)]
    #[case(Fault::reset().on("put", "/api/v1/services/ingestionPipelines/shop_pg.*"), true)]
    #[case(Fault::reset().on("GET", "*/pipelineStatus"), false)]
    #[case(Fault::reset().on("PUT", "*/bulk"), false)]
    #[case(Fault::reset().with("pipelineState", "success"), true)]
    #[case(Fault::reset().with("pipelineState", "running"), false)]
    #[case(Fault::reset().with("endDate", 1), false)]
    fn a_fault_hits_what_it_describes(#[case] fault: Fault, #[case] hit: bool) {
        let mut faults = Faults::default();
        faults.inject(fault, 0);
        assert_eq!(faults.take(&PUT_STATUS, 0).is_some(), hit);
    }

    #[test]
    fn a_counted_fault_wears_off() {
        let mut faults = Faults::default();
        faults.inject(Fault::status(503).times(2), 0);
        let hits = [0, 1, 2].map(|now| faults.take(&PUT_STATUS, now).is_some());
        assert_eq!(hits, [true, true, false]);
        assert!(faults.list(3).is_empty());
    }

    #[test]
    fn a_timed_fault_ends_by_itself() {
        let mut faults = Faults::default();
        faults.inject(Fault::hang().lasting(Duration::from_secs(2)), 1_000);
        assert!(faults.take(&PUT_STATUS, 2_999).is_some());
        assert!(faults.take(&PUT_STATUS, 3_000).is_none());
    }

    #[test]
    fn the_first_of_two_faults_goes_first() {
        let mut faults = Faults::default();
        faults.inject(Fault::status(500).times(1), 0);
        faults.inject(Fault::reset(), 0);
        let mut next = || faults.take(&PUT_STATUS, 0).unwrap().effect;
        assert_eq!(next(), Effect::Status { code: 500, body: None });
        assert_eq!(next(), Effect::Reset);
    }

    #[rstest]
    #[case(json!({"effect": "hang"}), Fault::hang())]
    #[case(
        json!({"method": "PUT", "path": "*/pipelineStatus", "fields": {"pipelineState": "success"},
               "effect": "reset", "afterChange": true, "times": 1}),
        Fault::reset().on("PUT", "*/pipelineStatus").with("pipelineState", "success").after_change().times(1)
    )]
    #[case(
        json!({"effect": {"status": {"code": 503}}, "lastingMs": 2000}),
        Fault::status(503).lasting(Duration::from_secs(2))
    )]
    #[case(json!({"effect": {"delayMs": 50}}), Fault::delay(Duration::from_millis(50)))]
    fn faults_are_read_from_json(#[case] json: serde_json::Value, #[case] fault: Fault) {
        assert_eq!(serde_json::from_value::<Fault>(json).unwrap(), fault);
    }

    #[test]
    fn a_misspelt_fault_is_refused() {
        let error = serde_json::from_value::<Fault>(json!({"effect": "reset", "time": 1}));
        assert!(error.unwrap_err().to_string().contains("unknown field `time`"));
    }
}
