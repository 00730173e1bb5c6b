//! `om-config-{slug}`: the workflow config as people read it. Nothing mounts it; the worker gets
//! the real one from a Secret (docs/adr/0004-config-only-in-secrets.md).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use ompipe_core::labels;

use super::{Objects, annotated};

pub(super) fn build(objects: &Objects<'_>) -> ConfigMap {
    let labels = objects.with_revision(labels::of_pipeline(objects.pipeline()));
    let metadata = objects.metadata(objects.slug.config_map(), labels);
    ConfigMap {
        metadata: annotated(metadata, labels::SLUG, objects.slug.to_string()),
        data: Some(BTreeMap::from([(
            "config".to_owned(),
            objects.runnable.workflow.masked_text(),
        )])),
        ..ConfigMap::default()
    }
}
