//! What is tried: the rows and columns of the matrix.

use std::fmt;

use serde::{Deserialize, Serialize};

use Untried::{DoesNotExist, NotPromised};

/// How a run is carried out, and who is there to report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// An `OMJob`, with `exitHandlerImage`.
    Operator,
    /// A Job whose own pod reports nothing, and the operator.
    JobAndOperator,
    /// A Job with `exitHandlerImage`, and no operator.
    Supervised,
    /// A Job without supervisor and operator: the hook of the ingestion image, and the shell around
    /// the worker.
    Hook,
}

impl Mode {
    /// All columns, in order.
    pub const ALL: [Self; 4] = [Self::Operator, Self::JobAndOperator, Self::Supervised, Self::Hook];

    /// Head of the column.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::JobAndOperator => "job + operator",
            Self::Supervised => "job alone, supervised",
            Self::Hook => "job alone",
        }
    }

    /// Whether an operator runs.
    #[must_use]
    pub const fn has_operator(self) -> bool {
        matches!(self, Self::Operator | Self::JobAndOperator)
    }

    /// Whether a supervisor is the worker's first process.
    #[must_use]
    pub const fn has_supervisor(self) -> bool {
        matches!(self, Self::Operator | Self::Supervised)
    }
}

/// Rows that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The worker's process ends by itself.
    Ends,
    /// Somebody or something stops the run.
    Stops,
    /// The worker never starts.
    NeverStarts,
    /// Something fails around it.
    Surroundings,
}

/// All groups, in the order of the page.
pub const GROUPS: [Group; 4] = [Group::Ends, Group::Stops, Group::NeverStarts, Group::Surroundings];

impl Group {
    /// Headline.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ends => "The worker ends",
            Self::Stops => "The run is stopped",
            Self::NeverStarts => "The worker never starts",
            Self::Surroundings => "What is around it fails",
        }
    }
}

/// Why nobody tries a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untried {
    /// The mode has nothing that could go so.
    DoesNotExist(&'static str),
    /// What comes of it is up to chance.
    NotPromised(&'static str),
}

/// As it stands in a cell.
impl fmt::Display for Untried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoesNotExist(why) => write!(f, "*does not exist:* {why}"),
            Self::NotPromised(why) => write!(f, "*not promised:* {why}"),
        }
    }
}

/// One way to end, or one disturbance.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What happens; tests name the row by it.
    pub name: &'static str,
    /// Where it stands.
    pub group: Group,
    untried: &'static [(Mode, Untried)],
}

impl Row {
    const fn new(group: Group, name: &'static str) -> Self {
        Self { name, group, untried: &[] }
    }

    const fn except(self, untried: &'static [(Mode, Untried)]) -> Self {
        Self { untried, ..self }
    }

    /// Why nobody tries it in this mode; `None` where a test has to.
    #[must_use]
    pub fn untried(&self, mode: Mode) -> Option<Untried> {
        self.untried.iter().find(|(untried, _)| *untried == mode).map(|(_, why)| *why)
    }

    /// The row of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name == name)
    }
}

const NO_OPERATOR: &[(Mode, Untried)] = &[
    (Mode::Supervised, DoesNotExist("there is no operator")),
    (Mode::Hook, DoesNotExist("there is no operator")),
];
const NO_SLOT: &[(Mode, Untried)] = &[
    (Mode::JobAndOperator, DoesNotExist("Kubernetes itself fires the schedule")),
    (Mode::Supervised, DoesNotExist("Kubernetes itself fires the schedule")),
    (Mode::Hook, DoesNotExist("Kubernetes itself fires the schedule")),
];
const NO_EXIT_POD: &[(Mode, Untried)] = &[
    (Mode::JobAndOperator, DoesNotExist("there is no such pod")),
    (Mode::Supervised, DoesNotExist("there is no such pod")),
    (Mode::Hook, DoesNotExist("there is no such pod")),
];

/// Every row.
pub const ROWS: &[Row] = &[
    Row::new(Group::Ends, "exit 0, success reported"),
    Row::new(Group::Ends, "exit 0, nothing reported"),
    Row::new(Group::Ends, "exit 1"),
    Row::new(Group::Ends, "success reported, then exit 1"),
    Row::new(Group::Ends, "success reported, then out of memory"),
    Row::new(Group::Ends, "partialSuccess reported, then exit 1"),
    Row::new(Group::Ends, "partialSuccess reported, then SIGKILL"),
    Row::new(Group::Ends, "SIGKILL inside"),
    Row::new(Group::Ends, "out of memory"),
    Row::new(Group::Ends, "a config that the real worker cannot read"),
    //
    Row::new(Group::Stops, "kubectl delete pod"),
    Row::new(Group::Stops, "kubectl delete pod --force").except(&[
        (Mode::Supervised, NotPromised("the kubelet leaves 2 seconds for the report")),
        (Mode::Hook, NotPromised("the kubelet leaves 2 seconds, and Python takes about as long")),
    ]),
    Row::new(Group::Stops, "eviction API"),
    Row::new(Group::Stops, "preemption by a more important pod"),
    Row::new(Group::Stops, "drain of the node"),
    Row::new(Group::Stops, "node lost with its kubelet"),
    Row::new(Group::Stops, "activeDeadlineSeconds"),
    Row::new(Group::Stops, "kill while queued, no pod yet"),
    Row::new(Group::Stops, "kill while pending"),
    Row::new(Group::Stops, "kill while running"),
    Row::new(Group::Stops, "kill while exiting, after exit 0")
        .except(&[(Mode::Hook, DoesNotExist("the Job is over as soon as its worker is"))]),
    Row::new(Group::Stops, "kubectl delete job or omjob"),
    Row::new(Group::Stops, "kubectl delete cronjob or cronomjob"),
    Row::new(Group::Stops, "ompipe delete"),
    Row::new(Group::Stops, "kubectl delete namespace"),
    //
    Row::new(Group::NeverStarts, "no image"),
    Row::new(Group::NeverStarts, "no node"),
    Row::new(Group::NeverStarts, "no quota"),
    Row::new(Group::NeverStarts, "denied by a webhook"),
    Row::new(Group::NeverStarts, "no image of the exit handler")
        .except(&[(Mode::Hook, DoesNotExist("there is no such image"))]),
    Row::new(Group::NeverStarts, "an init container fails"),
    Row::new(Group::NeverStarts, "a volume cannot be mounted"),
    Row::new(Group::NeverStarts, "a sidecar crashes again and again"),
    //
    Row::new(Group::Surroundings, "a webhook adds a sidecar"),
    Row::new(Group::Surroundings, "operator killed before the pod").except(NO_OPERATOR),
    Row::new(Group::Surroundings, "operator killed while running").except(NO_OPERATOR),
    Row::new(Group::Surroundings, "operator killed while exiting").except(NO_OPERATOR),
    Row::new(Group::Surroundings, "both replicas down until after the end").except(NO_OPERATOR),
    Row::new(Group::Surroundings, "another leader in mid-run").except(NO_OPERATOR),
    Row::new(Group::Surroundings, "a slot is due while no operator leads").except(NO_SLOT),
    Row::new(Group::Surroundings, "API server down for 60 s at the end"),
    Row::new(Group::Surroundings, "etcd down for 20 s at the end"),
    Row::new(Group::Surroundings, "OpenMetadata down for 2 minutes at the end"),
    Row::new(Group::Surroundings, "OpenMetadata answers 500 for 20 s"),
    Row::new(Group::Surroundings, "a proxy answers 404 for 20 s"),
    Row::new(Group::Surroundings, "a login page answers for 20 s"),
    Row::new(Group::Surroundings, "a redirect answers for 20 s"),
    Row::new(Group::Surroundings, "a server of 1.1 refuses what it does not know"),
    Row::new(Group::Surroundings, "OpenMetadata resets connections for 20 s"),
    Row::new(Group::Surroundings, "OpenMetadata hangs for 20 s"),
    Row::new(Group::Surroundings, "OpenMetadata down until the exit handler has given up"),
    Row::new(Group::Surroundings, "token rotated, pipeline deployed anew"),
    Row::new(Group::Surroundings, "exit handler's pod has no image").except(NO_EXIT_POD),
    Row::new(Group::Surroundings, "exit handler crashes").except(&[(
        Mode::Supervised,
        NotPromised("it is the container's first process, with which all others go"),
    )]),
    Row::new(Group::Surroundings, "pods removed as soon as they end"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_fit_into_a_table() {
        let names: BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(names.iter().all(|name| !name.contains('|')));
    }

    /// What is up to chance is known by name; with an operator nothing is.
    #[test]
    fn nearly_everything_is_tried() {
        let cells = ROWS.iter().flat_map(|row| Mode::ALL.map(|mode| (row, mode)));
        let chance = cells.filter(|(row, mode)| matches!(row.untried(*mode), Some(NotPromised(_))));
        let chance: Vec<_> = chance.map(|(row, mode)| (row.name, mode)).collect();
        let known = [
            ("kubectl delete pod --force", Mode::Supervised),
            ("kubectl delete pod --force", Mode::Hook),
            ("exit handler crashes", Mode::Supervised),
        ];
        assert_eq!(chance, known);
        assert!(ROWS.iter().all(|row| row.untried(Mode::Operator).is_none()));
    }
}
