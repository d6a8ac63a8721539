//! Points as Qdrant keeps them.

use std::collections::HashMap;

use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{PointId, PointStruct, RetrievedPoint, ScoredPoint, Value};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::vectors::store::{Hit, Point, StoredPoint};
use crate::workspace_id::WORKSPACE_COLUMN;

/// The payload field of a point's hash.
pub(super) const HASH: &str = "_hash";

/// Of one request. Qdrant takes any size over gRPC, but proxies before it often do not.
const MAX_POINTS: usize = 256;
const MAX_BYTES: usize = 3 << 20;

/// The points in groups that are each small enough for one request.
pub(super) fn batches(points: impl IntoIterator<Item = Point>) -> impl Iterator<Item = Vec<PointStruct>> {
    let mut points = points.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(point) = points.next_if(|p| batch.len() < MAX_POINTS && (batch.is_empty() || bytes + size(p) <= MAX_BYTES))
        {
            bytes += size(&point);
            batch.push(to_struct(point));
        }
        (!batch.is_empty()).then_some(batch)
    })
}

/// About how many bytes a point is on the wire.
fn size(point: &Point) -> usize {
    let payload: usize = point.payload.iter().map(|(name, value)| name.len() + weight(value)).sum();
    4 * point.vector.len() + payload + point.workspace.as_str().len() + 200
}

fn weight(value: &Json) -> usize {
    12 + match value {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(weight).sum(),
        Json::Object(fields) => fields.iter().map(|(name, value)| 12 + name.len() + weight(value)).sum(),
        _ => 0,
    }
}

fn to_struct(point: Point) -> PointStruct {
    let mut payload: HashMap<String, Value> = point.payload.into_iter().map(|(name, value)| (name, value.into())).collect();
    // Last, so that no field of the payload can stand in for them.
    payload.insert(WORKSPACE_COLUMN.into(), point.workspace.as_str().into());
    payload.insert(HASH.into(), point.hash.into());
    PointStruct::new(point.id.to_string(), point.vector, payload)
}

/// # Errors
/// [`ErrorKind::Storage`] for a point that is not one of ours.
pub(super) fn to_stored(point: RetrievedPoint) -> Result<StoredPoint> {
    let id = to_uuid(point.id)?;
    // A point of somebody else has no hash: it is unlike any of ours.
    let hash = match point.payload.get(HASH).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(hash)) => hash.clone(),
        _ => String::new(),
    };
    Ok(StoredPoint { id, hash })
}

/// # Errors
/// As [`to_stored`].
pub(super) fn to_hit(point: ScoredPoint) -> Result<Hit> {
    let id = to_uuid(point.id)?;
    let mut fields: Vec<(String, Value)> = point.payload.into_iter().collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let payload: Map<String, Json> = fields.into_iter().map(|(name, value)| (name, to_json(value))).collect();
    Ok(Hit { id, score: point.score, payload })
}

fn to_json(value: Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(bool)) => bool.into(),
        Some(Kind::IntegerValue(integer)) => integer.into(),
        Some(Kind::DoubleValue(float)) => float.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(to_json).collect(),
        Some(Kind::StructValue(map)) => map.fields.into_iter().map(|(name, value)| (name, to_json(value))).collect(),
    }
}

fn to_uuid(id: Option<PointId>) -> Result<Uuid> {
    let uuid = match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Uuid(text)) => text.parse().ok(),
        _ => None,
    };
    uuid.ok_or_else(|| {
        Error::new(ErrorKind::Storage, "the collection holds a point whose id is not a UUID, so another program writes to it")
            .with_hint("keep that program away from the collections of the lake, or remove its points")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace_id::WorkspaceId;

    fn point(text: &str) -> Point {
        let Json::Object(payload) = json!({ "text": text, "workspace_id": "forged", "_hash": "forged" }) else {
            panic!("no map")
        };
        let workspace = WorkspaceId::new("acme").unwrap();
        Point { id: Uuid::from_u128(text.len() as u128), workspace, vector: vec![1.0], payload, hash: "real".into() }
    }

    #[test]
    fn batches_are_bounded_by_count_and_bytes() {
        let sizes = |points: Vec<Point>| batches(points).map(|batch| batch.len()).collect::<Vec<_>>();
        assert_eq!(sizes(vec![]), [0; 0]);
        assert_eq!(sizes(vec![point("a"); 600]), [256, 256, 88]);
        let large = point(&"x".repeat(2 << 20));
        assert_eq!(sizes(vec![large.clone(), large.clone(), point("a")]), [1, 2]);
        let huge = point(&"x".repeat(5 << 20));
        assert_eq!(sizes(vec![point("a"), huge.clone(), huge, point("a")]), [1, 1, 1, 1]);
    }

    #[test]
    fn a_payload_cannot_forge_workspace_or_hash() {
        let stored = to_struct(point("a"));
        assert_eq!(stored.payload[WORKSPACE_COLUMN], Value::from("acme"));
        assert_eq!(stored.payload[HASH], Value::from("real"));
    }
}
