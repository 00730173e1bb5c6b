//! The kinds of entity that the stand-in stores, as one table.
//!
//! Everything that differs between kinds is a row here; the store and the routes know no kind by name.

/// One kind of entity and where it lives in the API.
#[derive(Debug)]
pub(crate) struct Collection {
    /// Path below `/api/v1`.
    pub(crate) path: &'static str,
    /// Type name in entity references.
    pub(crate) kind: &'static str,
    /// Field that names the parent, whose FQN starts this one's.
    pub(crate) parent: Option<&'static str>,
    /// Kind of the parent when a request names it by FQN alone; absent where it sends a reference.
    pub(crate) parent_kind: Option<&'static str>,
    /// Fields that the server copies from the parent.
    pub(crate) inherits: &'static [&'static str],
    /// Fields that an answer never shows.
    pub(crate) hidden: &'static [&'static str],
    /// What the FQN has after the name.
    pub(crate) fqn_suffix: &'static str,
}

impl Collection {
    const fn root(path: &'static str, kind: &'static str) -> Self {
        Self {
            path,
            kind,
            parent: None,
            parent_kind: None,
            inherits: &[],
            hidden: &[],
            fqn_suffix: "",
        }
    }

    const fn child(
        path: &'static str,
        kind: &'static str,
        parent: &'static str,
        parent_kind: &'static str,
        inherits: &'static [&'static str],
    ) -> Self {
        Self {
            parent: Some(parent),
            parent_kind: Some(parent_kind),
            inherits,
            ..Self::root(path, kind)
        }
    }

    /// Name of the search index that holds this kind.
    pub(crate) fn index(&self) -> String {
        let mut index = String::new();
        for letter in self.kind.chars() {
            if letter.is_ascii_uppercase() {
                index.push('_');
            }
            index.push(letter.to_ascii_lowercase());
        }
        index + "_search_index"
    }
}

/// Ingestion pipelines, the one collection with endpoints of its own.
pub(crate) const INGESTION_PIPELINES: &str = "services/ingestionPipelines";

/// Tables, the entities that an ingestion is judged by.
pub(crate) const TABLES: &str = "tables";

/// Every collection of the stand-in.
pub(crate) static COLLECTIONS: &[Collection] = &[
    Collection::root("services/apiServices", "apiService"),
    Collection::root("services/dashboardServices", "dashboardService"),
    Collection::root("services/databaseServices", "databaseService"),
    Collection::root("services/driveServices", "driveService"),
    Collection::root("services/llmServices", "llmService"),
    Collection::root("services/mcpServices", "mcpService"),
    Collection::root("services/messagingServices", "messagingService"),
    Collection::root("services/metadataServices", "metadataService"),
    Collection::root("services/mlmodelServices", "mlmodelService"),
    Collection::root("services/pipelineServices", "pipelineService"),
    Collection::root("services/searchServices", "searchService"),
    Collection::root("services/securityServices", "securityService"),
    Collection::root("services/storageServices", "storageService"),
    Collection {
        fqn_suffix: ".testConnectionDefinition",
        ..Collection::root("services/testConnectionDefinitions", "testConnectionDefinition")
    },
    Collection::root("automations/workflows", "workflow"),
    Collection::root("dataQuality/testSuites", "testSuite"),
    Collection {
        parent: Some("service"),
        // A real server hands the connection to the orchestrator only; a client that reads it from
        // here would work in the tests and nowhere else.
        hidden: &["openMetadataServerConnection"],
        ..Collection::root(INGESTION_PIPELINES, "ingestionPipeline")
    },
    Collection::child("databases", "database", "service", "databaseService", &["serviceType"]),
    Collection::child(
        "databaseSchemas",
        "databaseSchema",
        "database",
        "database",
        &["service", "serviceType"],
    ),
    Collection::child(
        TABLES,
        "table",
        "databaseSchema",
        "databaseSchema",
        &["database", "service", "serviceType"],
    ),
    Collection::child(
        "storedProcedures",
        "storedProcedure",
        "databaseSchema",
        "databaseSchema",
        &["database", "service", "serviceType"],
    ),
];

/// The collection at `path` below `/api/v1`.
pub(crate) fn by_path(path: &str) -> Option<&'static Collection> {
    COLLECTIONS.iter().find(|collection| collection.path == path)
}

/// The collection of entities of type `kind`.
pub(crate) fn by_kind(kind: &str) -> Option<&'static Collection> {
    COLLECTIONS.iter().find(|collection| collection.kind == kind)
}

/// The collection behind a search index.
pub(crate) fn by_index(index: &str) -> Option<&'static Collection> {
    COLLECTIONS.iter().find(|collection| collection.index() == index)
}

#[cfg(test)]
mod tests {
    use super::{COLLECTIONS, by_index, by_kind};

    #[test]
    fn search_indexes_are_named_after_the_kind() {
        assert_eq!(by_index("database_schema_search_index").unwrap().path, "databaseSchemas");
    }

    #[test]
    fn every_parent_kind_is_in_the_table() {
        let kinds = COLLECTIONS.iter().filter_map(|collection| collection.parent_kind);
        assert!(kinds.into_iter().all(|kind| by_kind(kind).is_some()));
    }
}
