//! Edges between entities.

use json_patch::Patch;
use serde_json::{Value, json};

/// Lineage edges as clients put them.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    edges: Vec<Value>,
}

/// The ids at both ends of an edge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
}

impl Ends<'_> {
    fn are_of(self, edge: &Value) -> bool {
        edge["fromEntity"]["id"] == self.from && edge["toEntity"]["id"] == self.to
    }
}

impl Lineage {
    /// Stores an edge over the one between the same ends.
    pub(crate) fn put(&mut self, edge: Value) -> Result<(), String> {
        let end = |name: &str| edge[name]["id"].as_str().map(str::to_owned);
        let (Some(from), Some(to)) = (end("fromEntity"), end("toEntity")) else {
            return Err("`edge` needs `fromEntity.id` and `toEntity.id`".to_owned());
        };
        let ends = Ends { from: &from, to: &to };
        self.edges.retain(|known| !ends.are_of(known));
        self.edges.push(edge);
        Ok(())
    }

    /// The edge between two entities.
    pub(crate) fn get(&self, ends: Ends<'_>) -> Option<&Value> {
        self.edges.iter().find(|edge| ends.are_of(edge))
    }

    /// Changes the details of an edge by a JSON Patch.
    pub(crate) fn patch(&mut self, ends: Ends<'_>, patch: &Patch) -> Option<Result<(), String>> {
        let edge = self.edges.iter_mut().find(|edge| ends.are_of(edge))?;
        let patched = json_patch::patch(&mut edge["lineageDetails"], patch);
        Some(patched.map_err(|error| error.to_string()))
    }

    /// All edges.
    pub(crate) fn edges(&self) -> &[Value] {
        &self.edges
    }

    /// What is next to the entity with this id, as the lineage endpoint shows it.
    pub(crate) fn around(&self, id: &str) -> Value {
        let side = |near: &str| -> Vec<&Value> {
            self.edges.iter().filter(|edge| edge[near]["id"] == id).collect()
        };
        let (upstream, downstream) = (side("toEntity"), side("fromEntity"));
        let nodes = upstream.iter().map(|edge| &edge["fromEntity"]);
        let nodes: Vec<&Value> = nodes.chain(downstream.iter().map(|e| &e["toEntity"])).collect();
        json!({
            "nodes": nodes,
            "upstreamEdges": upstream.iter().map(|edge| shown(edge)).collect::<Vec<_>>(),
            "downstreamEdges": downstream.iter().map(|edge| shown(edge)).collect::<Vec<_>>(),
        })
    }
}

fn shown(edge: &Value) -> Value {
    json!({
        "fromEntity": edge["fromEntity"]["id"],
        "toEntity": edge["toEntity"]["id"],
        "lineageDetails": edge["lineageDetails"],
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Ends, Lineage};

    fn edge(from: &str, to: &str, details: &Value) -> Value {
        json!({"fromEntity": {"id": from, "type": "table"}, "toEntity": {"id": to, "type": "table"},
               "lineageDetails": details})
    }

    #[test]
    fn an_edge_is_stored_once_and_seen_from_both_ends() {
        let mut lineage = Lineage::default();
        lineage.put(edge("orders", "totals", &json!({"source": "Manual"}))).unwrap();
        lineage.put(edge("orders", "totals", &json!({"source": "ViewLineage"}))).unwrap();
        assert_eq!(lineage.edges().len(), 1);
        let down = &lineage.around("orders")["downstreamEdges"][0];
        assert_eq!(down["lineageDetails"]["source"], "ViewLineage");
        assert_eq!(lineage.around("totals")["upstreamEdges"][0]["fromEntity"], "orders");
    }

    #[test]
    fn details_can_be_patched() {
        let mut lineage = Lineage::default();
        lineage.put(edge("a", "b", &json!({}))).unwrap();
        let patch = json!([{"op": "add", "path": "/description", "value": "x"}]);
        let patch = serde_json::from_value(patch).unwrap();
        let ends = Ends { from: "a", to: "b" };
        lineage.patch(ends, &patch).unwrap().unwrap();
        assert_eq!(lineage.get(ends).unwrap()["lineageDetails"]["description"], "x");
        assert!(lineage.patch(Ends { from: "b", to: "a" }, &patch).is_none());
    }

    #[test]
    fn an_edge_without_ends_is_refused() {
        assert!(Lineage::default().put(json!({"fromEntity": {"id": "a"}})).is_err());
    }
}
