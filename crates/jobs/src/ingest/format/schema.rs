//! Schemas of raw columns: one from two, fit for Delta, and settled where no value has told a shape.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};

use super::naming::{Naming, field, key_of};

/// `a` and what `b` adds to it: columns and struct fields that are new come after those of `a`, the types of `a` stand, and a
/// shape that `a` does not know yet is taken from `b`. Columns are the same when their keys are ([`super::key_of`]). Both
/// hold raw columns only.
pub fn merge_schemas(a: &Schema, b: &Schema) -> Schema {
    // The names of `b` have passed the rule for reserved names; here they must only not meet those of `a`.
    Schema::new(merge_fields(a.fields(), b.fields()))
}

fn merge_fields(a: &Fields, b: &Fields) -> Fields {
    let mut naming = Naming::of_struct(a);
    let mut merged: Vec<FieldRef> = a.iter().cloned().collect();
    for theirs in b {
        match merged.iter_mut().find(|ours| key_of(ours) == key_of(theirs)) {
            Some(ours) => {
                let kind = merge_types(ours.data_type(), theirs.data_type());
                *ours = Arc::new(ours.as_ref().clone().with_data_type(kind));
            }
            None => {
                let name = naming.distinct(theirs.name());
                merged.push(Arc::new(field(&name, key_of(theirs), theirs.data_type().clone())));
            }
        }
    }
    merged.into()
}

fn merge_types(a: &DataType, b: &DataType) -> DataType {
    match (a, b) {
        (DataType::Null, b) => b.clone(),
        (DataType::Struct(a), DataType::Struct(b)) => DataType::Struct(merge_fields(a, b)),
        (DataType::Struct(a), b) if a.is_empty() && b != &DataType::Null => b.clone(),
        (DataType::List(a), DataType::List(b)) => {
            let item = merge_types(a.data_type(), b.data_type());
            DataType::List(Arc::new(a.as_ref().clone().with_data_type(item)))
        }
        (a, _) => a.clone(),
    }
}

/// `schema` with text wherever no value has told a shape: columns of nulls, lists that were all empty, objects without a field. Delta
/// can hold the result.
pub fn settle(schema: &Schema) -> Schema {
    Schema::new_with_metadata(settle_fields(schema.fields()), schema.metadata().clone())
}

fn settle_fields(fields: &Fields) -> Fields {
    fields.iter().map(|f| Arc::new(f.as_ref().clone().with_data_type(settle_type(f.data_type())))).collect()
}

fn settle_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Null => DataType::Utf8,
        DataType::Struct(fields) if fields.is_empty() => DataType::Utf8,
        DataType::Struct(fields) => DataType::Struct(settle_fields(fields)),
        DataType::List(item) => DataType::List(Arc::new(item.as_ref().clone().with_data_type(settle_type(item.data_type())))),
        other => other.clone(),
    }
}

/// The item field of a list, as Delta calls it.
pub(super) fn list_of(item: DataType) -> FieldRef {
    Arc::new(Field::new("element", item, true))
}

/// The fields of a Parquet file with names and types that Delta can hold, one for one.
pub(super) fn delta_fields(fields: &Fields, naming: &mut Naming, known: &Fields) -> Fields {
    let named = |(index, f): (usize, &FieldRef)| {
        let key = key_of(f);
        let before = known.iter().find(|k| key_of(k) == key).map(|k| k.data_type());
        let name = naming.name(key, index + 1);
        field(&name, key, delta_type(f.data_type(), before))
    };
    fields.iter().enumerate().map(named).collect()
}

/// The type that values of `kind` have in Delta; `known` gives the names of fields that are established.
fn delta_type(kind: &DataType, known: Option<&DataType>) -> DataType {
    match kind {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Date64 | DataType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) | DataType::Decimal256(p, s)
            if *p <= 38 && *s >= 0 =>
        {
            DataType::Decimal128(*p, *s)
        }
        DataType::Dictionary(_, values) => delta_type(values, known),
        DataType::RunEndEncoded(_, values) => delta_type(values.data_type(), known),
        DataType::Struct(fields) => {
            let none = Fields::empty();
            let known = if let Some(DataType::Struct(known)) = known { known } else { &none };
            DataType::Struct(delta_fields(fields, &mut Naming::of_struct(known), known))
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => {
            let known = if let Some(DataType::List(known)) = known { Some(known.data_type()) } else { None };
            DataType::List(list_of(delta_type(item.data_type(), known)))
        }
        DataType::Map(entries, sorted) => DataType::Map(map_entries(entries), *sorted),
        DataType::Null
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Binary
        | DataType::Date32 => kind.clone(),
        _ => DataType::Utf8,
    }
}

fn map_entries(entries: &FieldRef) -> FieldRef {
    let DataType::Struct(fields) = entries.data_type() else { return entries.clone() };
    let names = [("key", false), ("value", true)];
    let fields: Fields = fields
        .iter()
        .zip(names)
        .map(|(f, (name, nullable))| Field::new(name, delta_type(f.data_type(), None), nullable))
        .collect();
    Arc::new(Field::new("key_value", DataType::Struct(fields), false))
}

#[cfg(test)]
mod tests {
    use super::super::naming::KEY_METADATA;
    use super::super::testing::types;
    use super::*;

    fn schema(fields: Vec<(&str, DataType)>) -> Schema {
        Schema::new(fields.into_iter().map(|(n, t)| Field::new(n, t, true)).collect::<Vec<_>>())
    }

    fn object(fields: Vec<(&str, DataType)>) -> DataType {
        DataType::Struct(schema(fields).fields)
    }

    #[test]
    fn the_established_stands_and_the_new_is_added() {
        let a = schema(vec![
            ("n", DataType::Int32),
            ("u", object(vec![("x", DataType::Utf8)])),
            ("l", DataType::List(list_of(DataType::Null))),
            ("z", DataType::Null),
            ("e", object(vec![])),
        ]);
        let b = schema(vec![
            ("new", DataType::Utf8),
            ("n", DataType::Int64),
            ("l", DataType::List(list_of(DataType::Utf8))),
            ("u", object(vec![("y", DataType::Utf8), ("x", DataType::Null)])),
            ("z", object(vec![("q", DataType::Utf8)])),
            ("e", DataType::Utf8),
        ]);
        let merged = merge_schemas(&a, &b);
        assert_eq!(types(&merged), "n: Int32, u: {x: Utf8, y: Utf8}, l: [Utf8], z: {q: Utf8}, e: Utf8, new: Utf8");
        assert_eq!(merge_schemas(&merged, &b), merged);
    }

    #[test]
    fn names_that_meet_but_for_case_are_told_apart_by_key() {
        let merged = merge_schemas(&schema(vec![("id", DataType::Utf8)]), &schema(vec![("ID", DataType::Utf8)]));
        assert_eq!(types(&merged), "id: Utf8, ID_2: Utf8");
        assert_eq!(merged.field(1).metadata()[KEY_METADATA], "ID");
        assert_eq!(merge_schemas(&merged, &schema(vec![("ID", DataType::Utf8)])), merged);
    }

    #[test]
    fn settling_leaves_nothing_that_delta_cannot_hold() {
        let raw = schema(vec![
            ("z", DataType::Null),
            ("l", DataType::List(list_of(object(vec![])))),
            ("u", object(vec![("x", DataType::Null), ("n", DataType::Int64)])),
        ]);
        assert_eq!(types(&settle(&raw)), "z: Utf8, l: [Utf8], u: {x: Utf8, n: Int64}");
    }
}
