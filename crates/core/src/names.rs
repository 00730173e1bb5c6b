//! Names of Kubernetes objects (docs/adr/0003-identity-by-pipeline-id.md): people read them,
//! machines never rely on them.
//!
//! ```text
//! pipeline name ──sanitise──► base ─┬─ nothing but case changed, it fits ─► om-config-{base}
//!                                   └─ else, or the plain name is taken ──► om-config-{cut base}-{hash}
//! ```
//! The hash is taken over the fully qualified name, so two pipelines of one name under two services
//! differ. Should a name still be taken by another pipeline, a longer hash is used.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::RunId;
use crate::kubernetes::MAX_LABEL;

/// Hex digits of the hash at the end of a cut name.
const HASH_LENGTHS: [usize; 3] = [6, 12, 24];
/// Longest name of a `CronJob`: the controller appends 11 characters to make a Job's.
const MAX_CRON_JOB: usize = 52;
/// Longest name of an `OMJob`: its pods' names end in `-main` or `-exit`.
const MAX_OM_JOB: usize = 58;
/// Longest name of a `CronOMJob`: a run's name adds a hyphen and ten digits, its pods' more.
const MAX_CRON_OM_JOB: usize = 47;

/// The part of every object name that identifies one pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slug {
    /// Sanitised pipeline name: lower-case letters, digits, inner single hyphens; never empty.
    base: String,
    /// SHA-256 of the fully qualified name, in hex.
    digest: String,
    /// How many digits of it every name carries; 0 for the plain form.
    hash_length: usize,
}

impl Slug {
    /// The forms to try for a pipeline, best first: plain if the name allows it, then with longer
    /// and longer hashes. The first whose objects belong to no other pipeline is the one to use.
    pub fn candidates(name: &str, fqn: &str) -> impl Iterator<Item = Self> + use<> {
        let first = Self::first(name, fqn);
        let shortest = first.hash_length;
        let longer = HASH_LENGTHS.into_iter().filter(move |length| *length > shortest);
        let form = {
            let first = first.clone();
            move |hash_length| Self { hash_length, ..first.clone() }
        };
        std::iter::once(first).chain(longer.map(form))
    }

    /// The best form, for objects that a run's id keeps apart, so that no object has to own the name.
    #[must_use]
    pub fn first(name: &str, fqn: &str) -> Self {
        let base = sanitise(name);
        let is_plain = base == name.to_lowercase();
        Self {
            base: if base.is_empty() { "p".to_owned() } else { base },
            digest: hex::encode(Sha256::digest(fqn)),
            hash_length: if is_plain { 0 } else { HASH_LENGTHS[0] },
        }
    }

    /// Name of the `ConfigMap` that people read.
    #[must_use]
    pub fn config_map(&self) -> String {
        self.fit("om-config-", "", MAX_LABEL)
    }

    /// Name of the Secret that holds the deployed pipeline.
    #[must_use]
    pub fn secret(&self) -> String {
        self.fit("om-secret-", "", MAX_LABEL)
    }

    /// Name of the Secret that holds one revision of the workflow config.
    #[must_use]
    pub fn revision_secret(&self, revision: &str) -> String {
        self.fit("om-secret-", &format!("-{revision}"), MAX_LABEL)
    }

    /// Name of the `CronJob`.
    #[must_use]
    pub fn cron_job(&self) -> String {
        self.fit("om-cronjob-", "", MAX_CRON_JOB)
    }

    /// Name of the `CronOMJob`.
    #[must_use]
    pub fn cron_om_job(&self) -> String {
        self.fit("om-cronomjob-", "", MAX_CRON_OM_JOB)
    }

    /// Name of the Job of one on-demand run.
    #[must_use]
    pub fn job(&self, run: RunId) -> String {
        self.fit("om-job-", &format!("-{}", run.short()), MAX_LABEL)
    }

    /// Name of the `OMJob` of one on-demand run.
    #[must_use]
    pub fn om_job(&self, run: RunId) -> String {
        self.fit("om-job-", &format!("-{}", run.short()), MAX_OM_JOB)
    }

    /// Name of the Job, and of the Secret, of one automation.
    #[must_use]
    pub fn automation(&self, run: RunId) -> String {
        self.fit("om-automation-", &format!("-{}", run.short()), MAX_LABEL)
    }

    /// Name of the Job or `OMJob`, and of the Secret, of one run of an application.
    #[must_use]
    pub fn application(&self, run: RunId) -> String {
        self.fit("om-app-", &format!("-{}", run.short()), MAX_OM_JOB)
    }

    /// `prefix`, this slug and `suffix` within `max` characters. What does not fit whole is cut
    /// and gets a hash, so that equal beginnings stay apart.
    fn fit(&self, prefix: &str, suffix: &str, max: usize) -> String {
        let room = max - prefix.len() - suffix.len();
        let hash_length = match self.hash_length {
            0 if self.base.len() > room => HASH_LENGTHS[0],
            length => length,
        };
        if hash_length == 0 {
            return format!("{prefix}{}{suffix}", self.base);
        }
        let cut = &self.base[..self.base.len().min(room - hash_length - 1)];
        format!("{prefix}{}-{}{suffix}", cut.trim_end_matches('-'), &self.digest[..hash_length])
    }
}

/// The form kept in an annotation, so that names outlive a renamed service.
impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.base, self.digest, self.hash_length)
    }
}

impl FromStr for Slug {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const REMEDY: &str = "is not a slug that ompipe wrote";
        let parts: Vec<&str> = text.split('/').collect();
        let [base, digest, hash_length] = parts[..] else {
            return Err(REMEDY);
        };
        let hash_length = hash_length.parse().map_err(|_| REMEDY)?;
        let known = hash_length == 0 || HASH_LENGTHS.contains(&hash_length);
        let hex = digest.len() == 64 && digest.bytes().all(|c| c.is_ascii_hexdigit());
        if !known || !hex || base.is_empty() || sanitise(base) != base {
            return Err(REMEDY);
        }
        Ok(Self { base: base.to_owned(), digest: digest.to_owned(), hash_length })
    }
}

/// What upstream's Java client calls the objects of a pipeline, so that they can be recognised
/// (docs/contracts/upstream-java-client.md#object-names): it cuts names without a hash, and not
/// everywhere in the same way.
pub mod upstream {
    use super::sanitise;

    /// Longest base of any of its names.
    const MAX_BASE: usize = 53;
    /// Longest name that it creates.
    const MAX_NAME: usize = 63;

    /// The label `app.kubernetes.io/pipeline` of its objects; `None` for names that it cannot
    /// deploy.
    #[must_use]
    pub fn label(name: &str) -> Option<String> {
        let base = sanitise(name);
        let cut = base[..base.len().min(MAX_BASE)].trim_end_matches('-');
        (!cut.is_empty()).then(|| cut.to_owned())
    }

    /// Name of its `ConfigMap`.
    #[must_use]
    pub fn config_map(name: &str) -> Option<String> {
        object("om-config-", name)
    }

    /// Name of its Secret.
    #[must_use]
    pub fn secret(name: &str) -> Option<String> {
        object("om-secret-", name)
    }

    /// Name of its `CronJob`.
    #[must_use]
    pub fn cron_job(name: &str) -> Option<String> {
        object("om-cronjob-", name)
    }

    /// Name of its `CronOMJob`.
    #[must_use]
    pub fn cron_om_job(name: &str) -> Option<String> {
        object("om-cronomjob-", name)
    }

    fn object(prefix: &str, name: &str) -> Option<String> {
        let base = label(name)?;
        let room = MAX_NAME - prefix.len();
        Some(format!("{prefix}{}", base[..base.len().min(room)].trim_end_matches('-')))
    }
}

/// Lower-case ASCII letters and digits; everything else becomes a hyphen, never two in a row and
/// none at the ends.
fn sanitise(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn run() -> RunId {
        "a1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap()
    }

    #[test]
    fn plain_names_follow_the_seed() {
        let slug = Slug::first("mysql-pipeline", "mysql.mysql-pipeline");
        assert_eq!(slug.config_map(), "om-config-mysql-pipeline");
        assert_eq!(slug.secret(), "om-secret-mysql-pipeline");
        assert_eq!(slug.revision_secret("0123abcd"), "om-secret-mysql-pipeline-0123abcd");
        assert_eq!(slug.cron_job(), "om-cronjob-mysql-pipeline");
        assert_eq!(slug.job(run()), "om-job-mysql-pipeline-a1b2c3d4");
        assert_eq!(slug.om_job(run()), "om-job-mysql-pipeline-a1b2c3d4");
        assert_eq!(slug.cron_om_job(), "om-cronomjob-mysql-pipeline");
        assert_eq!(slug.automation(run()), "om-automation-mysql-pipeline-a1b2c3d4");
        assert_eq!(slug.application(run()), "om-app-mysql-pipeline-a1b2c3d4");
    }

    /// Upstream's own examples (docs/contracts/upstream-java-client.md#object-names).
    #[rstest]
    #[case("test_pipeline.config@2024", "test-pipeline-config-2024")]
    #[case("Upper Case", "upper-case")]
    fn upstreams_names_are_known(#[case] name: &str, #[case] base: &str) {
        assert_eq!(upstream::label(name).unwrap(), base);
        assert_eq!(upstream::config_map(name).unwrap(), format!("om-config-{base}"));
        assert_eq!(upstream::cron_job(name).unwrap(), format!("om-cronjob-{base}"));
    }

    #[test]
    fn upstreams_long_names_are_cut_as_it_cuts_them() {
        let long = "a".repeat(80);
        assert_eq!(upstream::label(&long).unwrap().len(), 53);
        assert_eq!(upstream::cron_job(&long).unwrap().len(), 63);
        assert_eq!(upstream::cron_om_job(&long).unwrap().len(), 63);
        assert_eq!(upstream::label("数据"), None);
    }

    #[rstest]
    #[case::case_only("Shop", "om-config-shop")]
    #[case::punctuation("my_pipeline", "om-config-my-pipeline-a2d1f4")]
    #[case::no_ascii("数据", "om-config-p-a2d1f4")]
    #[case::double_hyphen("a--b", "om-config-a-b-a2d1f4")]
    fn a_changed_name_carries_a_hash(#[case] name: &str, #[case] expected: &str) {
        let digest = hex::encode(Sha256::digest("svc.x"));
        assert_eq!(
            Slug::first(name, "svc.x").config_map(),
            expected.replace("a2d1f4", &digest[..6])
        );
    }

    #[test]
    fn only_the_names_that_are_too_long_are_cut() {
        let slug = Slug::first(&"n".repeat(45), "svc.n");
        assert_eq!(slug.config_map(), format!("om-config-{}", "n".repeat(45)));
        assert_eq!(slug.cron_job().len(), MAX_CRON_JOB);
        assert_ne!(slug.cron_job(), Slug::first(&"n".repeat(45), "other.n").cron_job());
    }

    fn all_names(slug: &Slug) -> Vec<String> {
        vec![
            slug.config_map(),
            slug.secret(),
            slug.revision_secret("0123abcd"),
            slug.cron_job(),
            slug.cron_om_job(),
            slug.job(run()),
            slug.automation(run()),
            slug.application(run()),
        ]
    }

    /// Names of every script, and ones that differ little.
    fn pipeline_name() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{1,512}",
            "[a-cA-C_. -]{1,12}",
            "n{40,60}[ab]{0,2}",
            "[\\p{Han}\\p{Cyrillic}\\p{Arabic}]{1,40}",
        ]
    }

    /// Deploys pipelines one after the other as the client does: each takes the first candidate
    /// whose names no other pipeline has.
    fn deploy(owners: &mut HashMap<String, String>, name: &str, fqn: &str) -> Option<Slug> {
        let free = |slug: &Slug| {
            all_names(slug).iter().all(|name| owners.get(name).is_none_or(|owner| owner == fqn))
        };
        let slug = Slug::candidates(name, fqn).find(free)?;
        for name in all_names(&slug) {
            owners.insert(name, fqn.to_owned());
        }
        Some(slug)
    }

    proptest! {
        #[test]
        fn names_are_dns_labels_within_their_limits(name in pipeline_name(), service in ".{1,40}") {
            for slug in Slug::candidates(&name, &format!("{service}.{name}")) {
                for object in all_names(&slug) {
                    prop_assert!(object.parse::<crate::kubernetes::Namespace>().is_ok(), "{object}");
                }
                prop_assert!(slug.cron_job().len() <= MAX_CRON_JOB);
                prop_assert!(slug.om_job(run()).len() <= MAX_OM_JOB);
                prop_assert!(slug.cron_om_job().len() <= MAX_CRON_OM_JOB);
            }
        }

        #[test]
        fn distinct_pipelines_never_share_a_name(
            pipelines in prop::collection::btree_set((pipeline_name(), "[ab]"), 1..40)
        ) {
            let mut owners = HashMap::new();
            let mut slugs = HashMap::new();
            for (name, service) in &pipelines {
                let fqn = format!("{service}.{name}");
                let slug = deploy(&mut owners, name, &fqn).expect("some candidate is free");
                slugs.insert(fqn, slug);
            }
            for (name, service) in &pipelines {
                let fqn = format!("{service}.{name}");
                for object in all_names(&slugs[&fqn]) {
                    prop_assert_eq!(&owners[&object], &fqn);
                }
            }
        }

        #[test]
        fn slugs_are_stable_and_survive_their_annotation(name in pipeline_name()) {
            let fqn = format!("svc.{name}");
            for (slug, again) in Slug::candidates(&name, &fqn).zip(Slug::candidates(&name, &fqn)) {
                prop_assert_eq!(&slug, &again);
                prop_assert_eq!(slug.to_string().parse::<Slug>().unwrap(), slug);
            }
        }
    }
}
