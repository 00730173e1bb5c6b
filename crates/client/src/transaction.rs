//! Writes that are undone when a later one is rejected (docs/adr/0007-deploy-is-a-transaction.md):
//! each write leaves behind what undoes it, run in reverse order.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use ompipe_core::labels::OMPIPE;

use crate::deletion::{delete, of_uid, unchanged};
use crate::error::{Error, KubernetesError, Result};
use crate::object::Object;

/// Tries to make a deleted object anew: half a minute in all.
const RECREATIONS: usize = 20;
/// Reads of an object that the garbage collector has not released: half a minute in all.
const RELEASES: usize = 14;
/// Longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What a write did to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was not there.
    Created,
    /// It was there and is different now.
    Configured,
    /// It was there and is as it was.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// An object that an operation wrote.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What happened to it.
    pub change: Change,
}

/// Takes one write back; the text says what is left when that fails.
type Undo = BoxFuture<'static, Result<(), String>>;

/// The writes of one operation.
#[derive(Default)]
pub(crate) struct Transaction {
    undo: Vec<Undo>,
    written: Vec<Written>,
    /// Whether an object was applied that was not there when it was read: somebody else's, made since
    /// then, would have been overwritten unseen.
    unguarded: bool,
}

impl Transaction {
    /// Creates an object; `None` when one of that name is there already.
    pub(crate) async fn create<K: Object>(
        &mut self,
        api: &Api<K>,
        object: &K,
    ) -> Result<Option<K>> {
        let post = PostParams { field_manager: Some(OMPIPE.to_owned()), ..PostParams::default() };
        match api.create(&post, object).await {
            Ok(created) => {
                self.record(&created, Change::Created);
                self.undo.push(deletion(api.clone(), &created));
                Ok(Some(created))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => Err(KubernetesError::new(doing("creating", object), error).into()),
        }
    }

    /// Takes an object for one that this operation created: the answer to its creation was lost.
    pub(crate) fn adopt<K: Object>(&mut self, api: &Api<K>, found: &K) {
        self.record(found, Change::Created);
        self.undo.push(deletion(api.clone(), found));
    }

    /// Creates an object that only holds a name, for [`Self::fill`]; `None` when the name is taken.
    pub(crate) async fn claim<K: Object>(&mut self, api: &Api<K>, claim: &K) -> Result<Option<K>> {
        let post = PostParams { field_manager: Some(OMPIPE.to_owned()), ..PostParams::default() };
        match api.create(&post, claim).await {
            Ok(claimed) => {
                self.undo.push(withdrawal(api.clone(), &claimed));
                Ok(Some(claimed))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => Err(KubernetesError::new(doing("creating", claim), error).into()),
        }
    }

    /// Applies an object over a claim as it was read. That is its creation, whosever claim it was:
    /// the answer to ours may have been lost, and who else made it is refused to fill it.
    pub(crate) async fn fill<K: Object>(
        &mut self,
        api: &Api<K>,
        desired: K,
        claim: &K,
    ) -> Result<K> {
        let filled = apply_over(api, desired, Some(claim)).await?;
        self.record(&filled, Change::Created);
        self.undo.push(withdrawal(api.clone(), &filled));
        Ok(filled)
    }

    /// Applies an object over `previous`, which must not have changed since it was read.
    pub(crate) async fn apply<K: Object>(
        &mut self,
        api: &Api<K>,
        desired: K,
        previous: Option<K>,
    ) -> Result<K> {
        let applied = apply_over(api, desired, previous.as_ref()).await?;
        match previous {
            None => {
                self.unguarded = true;
                self.record(&applied, Change::Created);
                self.undo.push(deletion(api.clone(), &applied));
            }
            Some(previous) if previous.resource_version() != applied.resource_version() => {
                self.record(&applied, Change::Configured);
                self.undo.push(restoration(api.clone(), previous, &applied));
            }
            Some(_) => self.record(&applied, Change::Unchanged),
        }
        Ok(applied)
    }

    /// Applies an object in the place of one that somebody else made in another shape. Nothing of
    /// that may stay: merged, the two would make no sense.
    pub(crate) async fn replace<K: Object>(
        &mut self,
        api: &Api<K>,
        desired: K,
        previous: &K,
    ) -> Result<K> {
        self.orphan(api, previous).await?;
        self.apply(api, desired, None).await
    }

    /// Deletes an object as it was read, and waits until it is gone; what it owns stays.
    pub(crate) async fn orphan<K: Object>(&mut self, api: &Api<K>, object: &K) -> Result<()> {
        let params =
            DeleteParams { preconditions: Some(unchanged(object)), ..DeleteParams::orphan() };
        match api.delete(&object.name_any(), &params).await {
            Ok(_) => {
                self.record(object, Change::Deleted);
                self.undo.push(recreation(api.clone(), object.clone()));
                until_gone(api, object).await
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(KubernetesError::new(doing("deleting", object), error).into()),
        }
    }

    /// True when no write can have gone over what somebody else wrote at the same time.
    pub(crate) const fn is_guarded(&self) -> bool {
        !self.unguarded
    }

    /// What was written, one entry for each object.
    pub(crate) fn commit(self) -> Vec<Written> {
        self.written
    }

    /// Takes every write back and returns why, with what could not be taken back.
    pub(crate) async fn roll_back(self, refused: Error) -> Error {
        let mut left = Vec::new();
        for undo in self.undo.into_iter().rev() {
            left.extend(undo.await.err());
        }
        if left.is_empty() { refused } else { Error::NotUndone { source: Box::new(refused), left } }
    }

    fn record<K: Object>(&mut self, object: &K, change: Change) {
        let written = Written::new(object, change);
        let is_same =
            |other: &&mut Written| other.kind == written.kind && other.name == written.name;
        match self.written.iter_mut().find(is_same) {
            // What was deleted and made anew is another object under its name.
            Some(known) if known.change == Change::Deleted => known.change = Change::Configured,
            Some(_) => {}
            None => self.written.push(written),
        }
    }
}

impl Written {
    pub(crate) fn new<K: Object>(object: &K, change: Change) -> Self {
        Self { kind: K::kind(&()).into_owned(), name: object.name_any(), change }
    }
}

async fn apply_over<K: Object>(api: &Api<K>, mut desired: K, previous: Option<&K>) -> Result<K> {
    desired.meta_mut().resource_version = previous.and_then(K::resource_version);
    let params = PatchParams::apply(OMPIPE).force();
    let applied = api.patch(&desired.name_any(), &params, &Patch::Apply(&desired)).await;
    Ok(applied.map_err(|error| KubernetesError::new(doing("applying", &desired), error))?)
}

fn doing<K: Object>(verb: &str, object: &K) -> String {
    format!("{verb} {} {}", K::kind(&()), object.name_any())
}

/// Makes a deleted object anew, as it was. What it owned is not its own any more.
fn recreation<K: Object>(api: Api<K>, deleted: K) -> Undo {
    let left = format!("{} {} is deleted", K::kind(&()), deleted.name_any());
    async move {
        // A deleted object keeps its name until the garbage collector has released what it owned.
        let patience = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(RECREATIONS);
        let recreated = (|| recreate(&api, &deleted)).retry(patience);
        recreated.await.map_err(|error| format!("{left} ({error})"))
    }
    .boxed()
}

/// Fails while the deleted object is still there; another one under its name is somebody else's.
async fn recreate<K: Object>(api: &Api<K>, deleted: &K) -> kube::Result<()> {
    let mut anew = deleted.clone();
    let metadata = anew.meta_mut();
    (metadata.uid, metadata.resource_version, metadata.managed_fields) = (None, None, None);
    let post = PostParams { field_manager: Some(OMPIPE.to_owned()), ..PostParams::default() };
    match api.create(&post, &anew).await {
        Ok(_) => Ok(()),
        Err(exists) if is_already_exists(&exists) => {
            let present = api.get_opt(&deleted.name_any()).await?;
            let is_another = present.is_some_and(|present| present.uid() != deleted.uid());
            if is_another { Ok(()) } else { Err(exists) }
        }
        Err(error) => Err(error),
    }
}

fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_already_exists())
}

/// Deletes what was created, also when its controller has changed it since.
fn deletion<K: Object>(api: Api<K>, created: &K) -> Undo {
    delete_if(api, created.name_any(), of_uid(created.uid()))
}

/// Deletes a claim, or what it was filled with, unless somebody else has filled it since: then it
/// is theirs.
fn withdrawal<K: Object>(api: Api<K>, written: &K) -> Undo {
    delete_if(api, written.name_any(), unchanged(written))
}

fn delete_if<K: Object>(api: Api<K>, name: String, as_seen: Preconditions) -> Undo {
    let left = format!("{} {name} exists", K::kind(&()));
    async move {
        let gone = delete(&api, &name, as_seen, DeleteParams::background()).await;
        gone.map(drop).map_err(|error| format!("{left} ({error})"))
    }
    .boxed()
}

/// Puts the object back as it was, unless somebody else has changed it since: then it is theirs.
fn restoration<K: Object>(api: Api<K>, mut previous: K, applied: &K) -> Undo {
    previous.meta_mut().resource_version = applied.resource_version();
    let name = previous.name_any();
    let left = format!("{} {name} is changed", K::kind(&()));
    async move {
        let post = PostParams { field_manager: Some(OMPIPE.to_owned()), ..PostParams::default() };
        match api.replace(&name, &post, &previous).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(())
            }
            Err(error) => Err(format!("{left} ({error})")),
        }
    }
    .boxed()
}

/// Waits until the garbage collector has released an object that was deleted without what it owns. What is applied
/// under the same name before goes to the former object, and disappears with it.
async fn until_gone<K: Object>(api: &Api<K>, object: &K) -> Result<()> {
    let look = || async {
        let name = object.name_any();
        let found = api.get_opt(&name).await;
        let found =
            found.map_err(|error| KubernetesError::new(format!("reading {name}"), error))?;
        match found {
            Some(found) if found.uid() == object.uid() => Err(Error::StillGoing(name)),
            Some(_) | None => Ok(()),
        }
    };
    let again = ExponentialBuilder::default().with_max_times(RELEASES);
    let again = again.with_min_delay(Duration::from_millis(50)).with_max_delay(LONGEST_PAUSE);
    look.retry(again).when(Error::is_conflict).await
}
