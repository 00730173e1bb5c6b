//! The part of the search API that ingestions use: by field, and by a small filter language.

use serde_json::{Value, json};

use super::entity::{Object, text};
use super::glob;

/// Whether an entity passes a filter: `bool`, `term` and `exists` of Elasticsearch's query language.
///
/// # Errors
/// Names the clause that is not understood, so that a new client's search fails instead of finding
/// the wrong things.
pub(crate) fn admits(filter: &Value, entity: &Value) -> Result<bool, String> {
    let clause = filter.as_object().and_then(|clauses| clauses.iter().next());
    let Some((name, body)) = clause else {
        return Err(format!("not a search clause: {filter}"));
    };
    match name.as_str() {
        "query" => admits(body, entity),
        "bool" => bool_clause(body, entity),
        "term" => Ok(term(body, entity)),
        "exists" => Ok(body["field"].as_str().is_some_and(|path| !field(entity, path).is_null())),
        _ => Err(format!("unknown search clause `{name}`")),
    }
}

fn bool_clause(body: &Value, entity: &Value) -> Result<bool, String> {
    let count = |clauses: &[Value]| -> Result<usize, String> {
        let verdicts: Vec<bool> =
            clauses.iter().map(|clause| admits(clause, entity)).collect::<Result<_, _>>()?;
        Ok(verdicts.into_iter().filter(|admitted| *admitted).count())
    };
    for (occurrence, clauses) in body.as_object().into_iter().flatten() {
        let clauses = match clauses {
            Value::Array(clauses) => clauses.as_slice(),
            single => std::slice::from_ref(single),
        };
        let admitted = count(clauses)?;
        let holds = match occurrence.as_str() {
            "must" | "filter" => admitted == clauses.len(),
            "should" => admitted > 0 || clauses.is_empty(),
            "must_not" => admitted == 0,
            _ => return Err(format!("unknown search occurrence `{occurrence}`")),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn term(body: &Value, entity: &Value) -> bool {
    body.as_object().into_iter().flatten().all(|(path, wanted)| {
        let wanted = wanted.get("value").unwrap_or(wanted);
        field(entity, path) == wanted
    })
}

/// The value at a dotted path; `.keyword` only says how the text is indexed.
fn field<'a>(entity: &'a Value, path: &str) -> &'a Value {
    let path = path.strip_suffix(".keyword").unwrap_or(path);
    path.split('.').fold(entity, |value, key| &value[key])
}

/// Whether the text in a field matches a pattern with `*`.
pub(crate) fn field_matches(entity: &Value, path: &str, pattern: &str) -> bool {
    field(entity, path).as_str().is_some_and(|text| glob::matches(pattern, text))
}

/// Hits as Elasticsearch answers them, each sorted by its FQN.
pub(crate) fn answer(index: &str, total: usize, hits: &[&Object]) -> Value {
    let hits: Vec<Value> = hits.iter().map(|entity| hit(index, entity)).collect();
    json!({ "hits": { "total": { "value": total, "relation": "eq" }, "hits": hits } })
}

fn hit(index: &str, entity: &Object) -> Value {
    json!({
        "_index": index,
        "_id": text(entity, "id"),
        "_score": 1.0,
        "_source": entity,
        "sort": [text(entity, "fullyQualifiedName")],
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{admits, field_matches};

    fn view() -> Value {
        json!({"tableType": "View", "service": {"name": "shop_pg"}, "schemaDefinition": "select 1",
               "deleted": false, "fullyQualifiedName": "shop_pg.shop.sales.totals"})
    }

    #[rstest]
    #[case(json!({"query": {"term": {"service.name.keyword": "shop_pg"}}}), true)]
    #[case(json!({"term": {"tableType": {"value": "View"}}}), true)]
    #[case(json!({"term": {"deleted": true}}), false)]
    #[case(json!({"exists": {"field": "schemaDefinition"}}), true)]
    #[case(json!({"exists": {"field": "processedLineage"}}), false)]
    #[case(json!({"bool": {"should": [{"term": {"tableType": "Regular"}},
                                      {"term": {"tableType": "View"}}]}}), true)]
    #[case(json!({"bool": {"must": [{"term": {"tableType": "View"}}, {"term": {"deleted": true}}]}}), false)]
    #[case(json!({"bool": {"must_not": {"exists": {"field": "processedLineage"}}}}), true)]
    fn filters_are_evaluated(#[case] filter: Value, #[case] admitted: bool) {
        assert_eq!(admits(&filter, &view()), Ok(admitted));
    }

    #[test]
    fn an_unknown_clause_is_an_error() {
        let filter = json!({"bool": {"must": [{"regexp": {"name": "x"}}]}});
        assert_eq!(admits(&filter, &view()), Err("unknown search clause `regexp`".to_owned()));
    }

    #[test]
    fn fields_match_patterns() {
        assert!(field_matches(&view(), "fullyQualifiedName", "shop_pg.*.totals"));
        assert!(!field_matches(&view(), "fullyQualifiedName", "*.orders"));
    }
}
