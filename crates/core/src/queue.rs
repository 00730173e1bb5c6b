//! Which runs of a pipeline that wait for their turn may start: Airflow's `maxActiveRuns`.

use crate::{MaxActiveRuns, Workload};

/// The runs of one pipeline that have not ended.
#[derive(Debug)]
pub struct Queue<'w> {
    /// Those that go on, or would if they could.
    active: Vec<&'w Workload>,
    /// Those that wait, the oldest first.
    waiting: Vec<&'w Workload>,
}

impl<'w> Queue<'w> {
    /// Sorts the runs of a pipeline.
    #[must_use]
    pub fn of(workloads: &'w [Workload]) -> Self {
        let live = workloads.iter().filter(|workload| workload.end.is_none());
        let (waiting, active): (Vec<_>, Vec<_>) =
            live.partition(|workload| workload.queued.is_some());
        let mut waiting: Vec<_> =
            waiting.into_iter().filter(|workload| !workload.deleting).collect();
        waiting.sort_by_key(|workload| workload.order());
        Self { active, waiting }
    }

    /// True when a new run may start at once: a slot is free, and no earlier run waits for it.
    #[must_use]
    pub fn has_place(&self, limit: MaxActiveRuns) -> bool {
        self.waiting.is_empty() && self.active.len() < limit.get()
    }

    /// The runs that may start now, the oldest first. A place of which a newer one could make use,
    /// but not the oldest, stays free, so that no run overtakes another.
    #[must_use]
    pub fn next(&self) -> Vec<&'w Workload> {
        let in_line = self.waiting.iter().zip(self.active.len()..);
        let fits = |(workload, active): &(&&Workload, usize)| {
            workload.queued.is_some_and(|limit| *active < limit.get())
        };
        in_line.take_while(fits).map(|(workload, _)| *workload).collect()
    }

    /// How many wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::run::End;
    use crate::run::EndReporter;
    use crate::{RunId, WorkloadKind, labels};

    fn workload(name: usize, queued: Option<u16>, ended: bool, deleting: bool) -> Workload {
        Workload {
            kind: WorkloadKind::Job,
            namespace: None,
            name: format!("{name:03}"),
            uid: name.to_string(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            pipeline_fqn: None,
            run_id: RunId::random(),
            scheduled: false,
            created: None,
            deleting,
            queued: queued.map(|limit| limit.to_string().parse().unwrap()),
            waits_in: None,
            started: false,
            backoff_limit: None,
            end: ended.then_some(End { time: None, failure: None }),
            reported: None,
            end_reporter: EndReporter::Pods,
        }
    }

    fn workloads() -> impl Strategy<Value = Vec<Workload>> {
        let one = (proptest::option::of(1..4_u16), any::<bool>(), any::<bool>());
        proptest::collection::vec(one, 0..9).prop_map(|all| {
            let numbered = all.into_iter().enumerate();
            numbered
                .map(|(name, (queued, ended, deleting))| workload(name, queued, ended, deleting))
                .collect()
        })
    }

    proptest! {
        /// Never more at a time than the newest of those that start allows, and no run overtakes another.
        #[test]
        fn places_are_given_in_order_and_never_twice(workloads in workloads()) {
            let queue = Queue::of(&workloads);
            let next = queue.next();
            for (already, started) in next.iter().enumerate() {
                let limit = started.queued.unwrap().get();
                prop_assert!(queue.active.len() + already < limit);
                prop_assert_eq!(started, &queue.waiting[already]);
            }
            if let Some(first_left) = queue.waiting.get(next.len()) {
                prop_assert!(queue.active.len() + next.len() >= first_left.queued.unwrap().get());
            }
        }

        #[test]
        fn a_run_that_ends_or_goes_waits_no_more(workloads in workloads()) {
            let queue = Queue::of(&workloads);
            let is_over = |w: &&&Workload| w.end.is_some() || w.deleting;
            prop_assert!(!queue.waiting.iter().any(|workload| is_over(&workload)));
        }
    }

    #[test]
    fn a_run_that_is_stopped_keeps_its_place_until_it_is_gone() {
        let stopping = [workload(1, None, false, true), workload(2, Some(1), false, false)];
        assert_eq!(Queue::of(&stopping).next().len(), 0);
        assert_eq!(Queue::of(&stopping[1..]).next().len(), 1);
    }

    #[test]
    fn of_runs_of_one_second_the_first_trigger_comes_first() {
        let triggered = |name, at: &str| {
            let mut run = workload(name, Some(1), false, false);
            run.annotations.insert(labels::TRIGGERED_AT.to_owned(), at.to_owned());
            run
        };
        let later = triggered(1, "2026-03-01T00:00:00.900000Z");
        let earlier = triggered(2, "2026-03-01T00:00:00.100000Z");
        let waiting = [later, earlier.clone()];
        assert_eq!(Queue::of(&waiting).next(), [&earlier]);
    }

    #[test]
    fn a_new_run_does_not_overtake_one_that_waits() {
        let limit: MaxActiveRuns = "2".parse().unwrap();
        let waiting = [workload(1, Some(2), false, false)];
        assert!(!Queue::of(&waiting).has_place(limit));
        assert!(Queue::of(&[workload(1, None, false, false)]).has_place(limit));
        assert!(!Queue::of(&[workload(1, None, false, false)]).has_place(MaxActiveRuns::default()));
    }
}
