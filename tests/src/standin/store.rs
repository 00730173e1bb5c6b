//! Entities by collection and FQN.

use std::collections::BTreeMap;

use json_patch::Patch;
use serde_json::Value;

use super::collection::{self, Collection};
use super::entity::{self, Object, Origin, text};
use super::name::{self, InvalidName};

/// Why the store refused a request.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The request names something that is not there.
    #[error("{kind} instance for {name} not found")]
    NotFound {
        /// Type of the missing entity.
        kind: String,
        /// FQN or id that was asked for.
        name: String,
    },
    /// The request creates something that is there already.
    #[error("{kind} {name} already exists")]
    Exists {
        /// Type of the entity.
        kind: String,
        /// Its FQN.
        name: String,
    },
}

impl From<InvalidName> for Refused {
    fn from(invalid: InvalidName) -> Self {
        Self::Invalid(invalid.to_string())
    }
}

/// Which entities a read sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Include {
    /// Live ones only.
    #[default]
    NonDeleted,
    /// Soft-deleted ones only.
    Deleted,
    /// Both.
    All,
}

impl Include {
    fn admits(self, entity: &Object) -> bool {
        let deleted = is_deleted(entity);
        match self {
            Self::NonDeleted => !deleted,
            Self::Deleted => deleted,
            Self::All => true,
        }
    }
}

/// An entity after a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) entity: Object,
    pub(crate) created: bool,
}

/// How to delete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deletion {
    pub(crate) recursive: bool,
    pub(crate) hard: bool,
}

/// The entity store.
#[derive(Debug)]
pub(crate) struct Store {
    base: String,
    entities: BTreeMap<&'static str, BTreeMap<String, Object>>,
}

impl Store {
    /// An empty store whose entities link to the API at `base`.
    pub(crate) fn new(base: String) -> Self {
        Self { base, entities: BTreeMap::new() }
    }

    /// The entities of a collection in the order of their FQNs.
    pub(crate) fn all(
        &self,
        collection: &Collection,
        include: Include,
    ) -> impl Iterator<Item = &Object> {
        let entities = self.entities.get(collection.path).into_iter().flat_map(BTreeMap::values);
        entities.filter(move |entity| include.admits(entity))
    }

    /// The entity with this FQN.
    pub(crate) fn by_name(
        &self,
        collection: &Collection,
        fqn: &str,
        include: Include,
    ) -> Result<&Object, Refused> {
        let entity = self.entities.get(collection.path).and_then(|entities| entities.get(fqn));
        let entity = entity.filter(|entity| include.admits(entity));
        entity.ok_or_else(|| missing(collection, fqn))
    }

    /// The entity with this id.
    pub(crate) fn by_id(
        &self,
        collection: &Collection,
        id: &str,
        include: Include,
    ) -> Result<&Object, Refused> {
        let found = self.all(collection, include).find(|entity| text(entity, "id") == Some(id));
        found.ok_or_else(|| missing(collection, id))
    }

    /// Creates an entity; refuses one that exists.
    pub(crate) fn create(
        &mut self,
        collection: &'static Collection,
        body: &Object,
        now_ms: i64,
    ) -> Result<Written, Refused> {
        let fqn = self.fqn_of(collection, body)?;
        if self.by_name(collection, &fqn, Include::All).is_ok() {
            return Err(Refused::Exists { kind: collection.kind.to_owned(), name: fqn });
        }
        self.put(collection, body, now_ms)
    }

    /// Creates or updates the entity with the FQN that the body has; brings a soft-deleted one back.
    ///
    /// What the body does not name stays as it was.
    pub(crate) fn put(
        &mut self,
        collection: &'static Collection,
        body: &Object,
        now_ms: i64,
    ) -> Result<Written, Refused> {
        let fqn = self.fqn_of(collection, body)?;
        let before = self.by_name(collection, &fqn, Include::All).ok();
        let mut merged = before.cloned().unwrap_or_default();
        merged.extend(entity::given(collection, body));
        self.replace(collection, &merged, now_ms)
    }

    /// Stores exactly what the body says.
    fn replace(
        &mut self,
        collection: &'static Collection,
        body: &Object,
        now_ms: i64,
    ) -> Result<Written, Refused> {
        let parent = self.parent(collection, body)?;
        let fqn = fqn(collection, parent.map(|(_, parent)| parent), body)?;
        let previous = self.by_name(collection, &fqn, Include::All).ok();
        let origin = Origin {
            collection,
            parent: parent.map(|(_, parent)| parent),
            previous,
            base: &self.base,
            now_ms,
        };
        let mut entity = entity::build(&origin, &fqn, body)?;
        if let (Some(field), Some((parent_collection, parent))) = (collection.parent, parent) {
            entity.insert(field.to_owned(), entity::reference(parent, parent_collection.kind));
        }
        let created = previous.is_none();
        self.entities.entry(collection.path).or_default().insert(fqn, entity.clone());
        Ok(Written { entity, created })
    }

    /// Changes an entity by a JSON Patch.
    pub(crate) fn patch(
        &mut self,
        collection: &'static Collection,
        id: &str,
        patch: &Patch,
        now_ms: i64,
    ) -> Result<Object, Refused> {
        let before = self.by_id(collection, id, Include::NonDeleted)?;
        let mut patched = Value::Object(before.clone());
        json_patch::patch(&mut patched, patch).map_err(|error| {
            Refused::Invalid(format!("cannot apply the patch to {id}: {error}"))
        })?;
        let body = patched.as_object().ok_or_else(|| not_an_object(id))?;
        self.replace(collection, body, now_ms).map(|written| written.entity)
    }

    /// Deletes an entity and, when asked to, everything below it.
    pub(crate) fn delete(
        &mut self,
        collection: &'static Collection,
        id: &str,
        how: Deletion,
    ) -> Result<Object, Refused> {
        let mut entity = self.by_id(collection, id, Include::All)?.clone();
        let fqn = text(&entity, "fullyQualifiedName").unwrap_or_default().to_owned();
        if !how.recursive && self.has_children(&fqn) {
            return Err(Refused::Invalid(format!(
                "{} {fqn} is not empty: delete its children first or pass recursive=true",
                collection.kind
            )));
        }
        let own = self.entities.entry(collection.path).or_default();
        remove(own, |key| key == fqn, how.hard);
        let below = format!("{fqn}.");
        for entities in self.entities.values_mut() {
            remove(entities, |key| key.starts_with(&below), how.hard);
        }
        entity.insert("deleted".to_owned(), true.into());
        Ok(entity)
    }

    /// Brings a soft-deleted entity back.
    pub(crate) fn restore(
        &mut self,
        collection: &'static Collection,
        id: &str,
        now_ms: i64,
    ) -> Result<Object, Refused> {
        let entity = self.by_id(collection, id, Include::Deleted)?.clone();
        self.put(collection, &entity, now_ms).map(|written| written.entity)
    }

    fn has_children(&self, fqn: &str) -> bool {
        let below = format!("{fqn}.");
        let mut children = self.entities.values().flatten();
        children.any(|(key, entity)| key.starts_with(&below) && !is_deleted(entity))
    }

    fn fqn_of(&self, collection: &Collection, body: &Object) -> Result<String, Refused> {
        fqn(collection, self.parent(collection, body)?.map(|(_, parent)| parent), body)
    }

    /// The parent that a body names, by FQN or by reference.
    fn parent(
        &self,
        collection: &Collection,
        body: &Object,
    ) -> Result<Option<(&'static Collection, &Object)>, Refused> {
        let Some(field) = collection.parent else {
            return Ok(None);
        };
        let named = body.get(field).unwrap_or(&Value::Null);
        let kind = collection.parent_kind.or_else(|| named["type"].as_str()).unwrap_or_default();
        let unknown = || Refused::Invalid(format!("`{field}` names no parent: {named}"));
        let parents = collection::by_kind(kind).ok_or_else(unknown)?;
        let parent = match (named.as_str(), named["id"].as_str()) {
            (Some(fqn), _) => self.by_name(parents, fqn, Include::NonDeleted)?,
            (None, Some(id)) => self.by_id(parents, id, Include::NonDeleted)?,
            (None, None) => return Err(unknown()),
        };
        Ok(Some((parents, parent)))
    }
}

fn fqn(collection: &Collection, parent: Option<&Object>, body: &Object) -> Result<String, Refused> {
    let name =
        text(body, "name").ok_or_else(|| Refused::Invalid("`name` is missing".to_owned()))?;
    let parent = parent.and_then(|parent| text(parent, "fullyQualifiedName"));
    Ok(name::fqn(parent, name)? + collection.fqn_suffix)
}

fn remove(entities: &mut BTreeMap<String, Object>, doomed: impl Fn(&str) -> bool, hard: bool) {
    if hard {
        entities.retain(|fqn, _| !doomed(fqn));
        return;
    }
    for (_, entity) in entities.iter_mut().filter(|(fqn, _)| doomed(fqn)) {
        entity.insert("deleted".to_owned(), true.into());
    }
}

fn is_deleted(entity: &Object) -> bool {
    entity.get("deleted").and_then(Value::as_bool).unwrap_or(false)
}

fn missing(collection: &Collection, name: &str) -> Refused {
    Refused::NotFound { kind: collection.kind.to_owned(), name: name.to_owned() }
}

fn not_an_object(id: &str) -> Refused {
    Refused::Invalid(format!("the patch turns {id} into something that is not an object"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::collection::{Collection, by_kind};
    use super::super::entity::Object;
    use super::{Deletion, Include, Refused, Store};

    fn kind(kind: &str) -> &'static Collection {
        by_kind(kind).unwrap()
    }

    fn body(value: Value) -> Object {
        serde_json::from_value(value).unwrap()
    }

    /// `"shop.pg"` with one database, one schema and one table.
    fn shop() -> Store {
        let mut store = Store::new("http://om/api".to_owned());
        let mut put = |of: &str, entity: Value| store.put(kind(of), &body(entity), 1).unwrap();
        put("databaseService", json!({"name": "shop.pg", "serviceType": "Postgres"}));
        put("database", json!({"name": "shop", "service": "\"shop.pg\""}));
        put("databaseSchema", json!({"name": "sales", "database": "\"shop.pg\".shop"}));
        put(
            "table",
            json!({"name": "orders", "databaseSchema": "\"shop.pg\".shop.sales",
                   "columns": [{"name": "id"}, {"name": "a.b", "children": [{"name": "c"}]}]}),
        );
        store
    }

    const ORDERS: &str = "\"shop.pg\".shop.sales.orders";

    #[test]
    fn a_table_knows_all_its_ancestors() {
        let store = shop();
        let table = store.by_name(kind("table"), ORDERS, Include::default()).unwrap();
        assert_eq!(table["service"]["name"], "shop.pg");
        assert_eq!(table["database"]["fullyQualifiedName"], "\"shop.pg\".shop");
        assert_eq!(table["databaseSchema"]["type"], "databaseSchema");
        assert_eq!(table["serviceType"], "Postgres");
    }

    #[test]
    fn columns_are_named_below_their_table() {
        let store = shop();
        let table = store.by_name(kind("table"), ORDERS, Include::default()).unwrap();
        let nested = &table["columns"][1]["children"][0]["fullyQualifiedName"];
        assert_eq!(nested, &format!("{ORDERS}.\"a.b\".c"));
    }

    #[test]
    fn a_second_put_updates_and_keeps_the_id() {
        let mut store = shop();
        let again = body(json!({"name": "shop", "service": "\"shop.pg\"", "description": "new"}));
        let before = store.by_name(kind("database"), "\"shop.pg\".shop", Include::All).unwrap();
        let id = before["id"].clone();
        let written = store.put(kind("database"), &again, 2).unwrap();
        assert!(!written.created);
        assert_eq!(written.entity["id"], id);
        assert_eq!(written.entity["version"], 0.2);
        assert_eq!(written.entity["updatedAt"], 2);
    }

    #[test]
    fn a_put_keeps_what_it_does_not_name_and_a_patch_removes() {
        let mut store = shop();
        let described = json!({"name": "shop", "service": "\"shop.pg\"", "description": "new"});
        store.put(kind("database"), &body(described), 2).unwrap();
        let plain = body(json!({"name": "shop", "service": "\"shop.pg\""}));
        let kept = store.put(kind("database"), &plain, 3).unwrap().entity;
        assert_eq!(kept["description"], "new");
        let patch = json!([{"op": "remove", "path": "/description"}]);
        let patch = serde_json::from_value(patch).unwrap();
        let id = kept["id"].as_str().unwrap();
        let patched = store.patch(kind("database"), id, &patch, 4).unwrap();
        assert!(!patched.contains_key("description"));
    }

    #[test]
    fn a_create_refuses_what_exists() {
        let service = body(json!({"name": "shop.pg", "serviceType": "Postgres"}));
        let refused = shop().create(kind("databaseService"), &service, 2).unwrap_err();
        assert!(matches!(refused, Refused::Exists { .. }));
    }

    #[test]
    fn a_child_of_nobody_is_refused() {
        let orphan = body(json!({"name": "x", "service": "nobody"}));
        let refused = shop().put(kind("database"), &orphan, 2).unwrap_err();
        assert_eq!(refused.to_string(), "databaseService instance for nobody not found");
    }

    #[test]
    fn a_soft_deleted_tree_is_hidden_and_comes_back_with_a_put() {
        let mut store = shop();
        let schema = store.all(kind("databaseSchema"), Include::default()).next().unwrap();
        let id = schema["id"].as_str().unwrap().to_owned();
        let how = Deletion { recursive: true, hard: false };
        store.delete(kind("databaseSchema"), &id, how).unwrap();
        assert!(store.by_name(kind("table"), ORDERS, Include::default()).is_err());
        assert!(store.by_name(kind("table"), ORDERS, Include::Deleted).is_ok());
        let schema = body(json!({"name": "sales", "database": "\"shop.pg\".shop"}));
        assert!(!store.put(kind("databaseSchema"), &schema, 2).unwrap().created);
        assert_eq!(store.all(kind("databaseSchema"), Include::default()).count(), 1);
    }

    #[test]
    fn a_parent_is_not_deleted_from_under_its_children() {
        let mut store = shop();
        let service = store.all(kind("databaseService"), Include::default()).next().unwrap();
        let id = service["id"].as_str().unwrap().to_owned();
        let how = Deletion { recursive: false, hard: true };
        let refused = store.delete(kind("databaseService"), &id, how).unwrap_err();
        assert!(refused.to_string().contains("not empty"));
    }

    #[test]
    fn a_pipeline_never_shows_the_server_connection() {
        let mut store = shop();
        let service = store.all(kind("databaseService"), Include::default()).next().unwrap();
        let service = json!({"id": service["id"], "type": "databaseService"});
        let pipeline = body(json!({"name": "nightly", "service": service,
            "openMetadataServerConnection": {"securityConfig": {"jwtToken": "secret"}}}));
        let written = store.put(kind("ingestionPipeline"), &pipeline, 2).unwrap();
        assert_eq!(written.entity["fullyQualifiedName"], "\"shop.pg\".nightly");
        assert!(!written.entity.contains_key("openMetadataServerConnection"));
    }
}
