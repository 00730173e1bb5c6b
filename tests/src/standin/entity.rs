//! From the body of a create request to the entity that the server answers with.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::collection::Collection;
use super::name::{self, InvalidName};

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// What an entity is made of besides the request's body.
#[derive(Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) collection: &'static Collection,
    pub(crate) parent: Option<&'a Object>,
    /// The entity of the same FQN, when there is one: its id stays, its version goes up.
    pub(crate) previous: Option<&'a Object>,
    /// Where the API is served, for links.
    pub(crate) base: &'a str,
    pub(crate) now_ms: i64,
}

/// Builds the entity that `body` describes in full, under the FQN `fqn`.
pub(crate) fn build(origin: &Origin<'_>, fqn: &str, body: &Object) -> Result<Object, InvalidName> {
    let mut entity = given(origin.collection, body);
    if let Some(parent) = origin.parent {
        inherit(&mut entity, origin.collection, parent);
    }
    name_columns(&mut entity, fqn)?;
    identify(&mut entity, origin, fqn);
    Ok(entity)
}

/// What the request says and the server keeps. Nulls are left out, as the server's serialiser does.
pub(crate) fn given(collection: &Collection, body: &Object) -> Object {
    body.iter()
        .filter(|(key, value)| !value.is_null() && !collection.hidden.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn inherit(entity: &mut Object, collection: &Collection, parent: &Object) {
    for field in collection.inherits {
        if let Some(value) = parent.get(*field) {
            entity.insert((*field).to_owned(), value.clone());
        }
    }
}

fn identify(entity: &mut Object, origin: &Origin<'_>, fqn: &str) {
    let before = origin.previous;
    let id = before.and_then(|entity| text(entity, "id")).map_or_else(new_id, str::to_owned);
    let href = format!("{}/v1/{}/{id}", origin.base, origin.collection.path);
    let fields = json!({
        "id": id, "href": href, "fullyQualifiedName": fqn, "version": next_version(before),
        "updatedAt": origin.now_ms, "updatedBy": "ingestion-bot", "deleted": false,
    });
    if let Value::Object(fields) = fields {
        entity.extend(fields);
    }
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// 0.1 for a new entity, one tenth more with each write.
pub(crate) fn next_version(before: Option<&Object>) -> f64 {
    let version = before.and_then(|entity| entity.get("version")).and_then(Value::as_f64);
    version.map_or(0.1, |version| (version * 10.0 + 1.0).round() / 10.0)
}

/// Columns have FQNs too, nested ones below the column that holds them.
fn name_columns(owner: &mut Object, fqn: &str) -> Result<(), InvalidName> {
    for list in ["columns", "children"] {
        let columns = owner.get_mut(list).and_then(Value::as_array_mut);
        for column in columns.into_iter().flatten().filter_map(Value::as_object_mut) {
            let column_name = text(column, "name").unwrap_or_default();
            let column_fqn = name::fqn(Some(fqn), column_name)?;
            name_columns(column, &column_fqn)?;
            column.insert("fullyQualifiedName".to_owned(), column_fqn.into());
        }
    }
    Ok(())
}

/// How another entity refers to this one.
pub(crate) fn reference(entity: &Object, kind: &str) -> Value {
    let mut reference = json!({ "type": kind });
    for field in ["id", "name", "fullyQualifiedName", "displayName", "href", "deleted"] {
        if let Some(value) = entity.get(field) {
            reference[field] = value.clone();
        }
    }
    reference
}

/// The text at `key`.
pub(crate) fn text<'a>(entity: &'a Object, key: &str) -> Option<&'a str> {
    entity.get(key).and_then(Value::as_str)
}
