//! Rows in the shape of an established schema, with what does not fit in `_rescued`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StringBuilder, StructArray, new_null_array,
};
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};
use arrow::error::ArrowError;
use lake::{Error, ErrorKind, Result};

use super::RawBatch;
use super::leaf::{json_text, recast};
use super::naming::key_of;
use super::rescue::Rescue;

/// `batch` with exactly the columns of `target`: nulls for columns and fields it lacks, values of another type where they pass without
/// loss. A value that does not fit, and one of a column that `target` lacks, goes to `rescued`. Columns are matched by key
/// ([`super::key_of`]).
///
/// # Errors
/// [`ErrorKind::Internal`] when the result is no batch, such as for a `target` with a column that may not be null.
pub fn conform(batch: &RawBatch, target: &SchemaRef) -> Result<RawBatch> {
    if &batch.batch.schema() == target {
        return Ok(batch.clone());
    }
    let mut reshaping = Reshaping::default();
    let schema = batch.batch.schema();
    let rows = batch.batch.num_rows();
    let reshaped = reshaping.fields(schema.fields(), batch.batch.columns(), target.fields(), rows, None).and_then(|columns| {
        RecordBatch::try_new_with_options(Arc::clone(target), columns, &RecordBatchOptions::new().with_row_count(Some(rows)))
    });
    match reshaped {
        Ok(reshaped) => Ok(reshaping.finish(reshaped, batch)),
        Err(error) => Err(Error::new(ErrorKind::Internal, "rows cannot take the shape of their table").with_source(error)),
    }
}

/// Whose row an item is: the index of the row for each item of nested lists, negative for an item that no row shows.
type Owners<'a> = Option<&'a [i64]>;

/// Columns on their way into another shape, and what was left of each row.
#[derive(Default)]
pub(super) struct Reshaping {
    rescues: BTreeMap<usize, Rescue>,
    path: Vec<String>,
}

type Reshaped = std::result::Result<ArrayRef, ArrowError>;

impl Reshaping {
    /// `columns` of `fields`, reshaped into `target`.
    fn fields(
        &mut self,
        fields: &Fields,
        columns: &[ArrayRef],
        target: &Fields,
        rows: usize,
        owners: Owners<'_>,
    ) -> std::result::Result<Vec<ArrayRef>, ArrowError> {
        let find = |wanted: &FieldRef| fields.iter().position(|f| key_of(f) == key_of(wanted));
        let mut reshaped = Vec::with_capacity(target.len());
        for wanted in target {
            reshaped.push(match find(wanted) {
                Some(index) => self.column(key_of(wanted), &columns[index], wanted.data_type(), owners)?,
                None => new_null_array(wanted.data_type(), rows),
            });
        }
        for (field, column) in fields.iter().zip(columns) {
            if !target.iter().any(|wanted| key_of(wanted) == key_of(field)) {
                self.path.push(key_of(field).to_owned());
                self.rescue(column, |_| true, "has no column", owners)?;
                self.path.pop();
            }
        }
        Ok(reshaped)
    }

    /// The column called `key`, reshaped into `to`.
    pub(super) fn column(&mut self, key: &str, array: &ArrayRef, to: &DataType, owners: Owners<'_>) -> Reshaped {
        self.path.push(key.to_owned());
        let reshaped = self.reshape(array, to, owners);
        self.path.pop();
        reshaped
    }

    fn reshape(&mut self, array: &ArrayRef, to: &DataType, owners: Owners<'_>) -> Reshaped {
        if array.data_type() == to {
            return Ok(Arc::clone(array));
        }
        if array.logical_null_count() == array.len() {
            return Ok(new_null_array(to, array.len()));
        }
        match (array.data_type(), to) {
            (DataType::Struct(fields), DataType::Struct(target)) => {
                let source = array.as_struct();
                let columns = self.fields(fields, source.columns(), target, array.len(), owners)?;
                Ok(Arc::new(StructArray::try_new_with_length(target.clone(), columns, source.nulls().cloned(), array.len())?))
            }
            (DataType::List(_), DataType::List(item)) => self.list(array.as_list(), item, owners),
            (
                DataType::LargeList(item)
                | DataType::FixedSizeList(item, _)
                | DataType::ListView(item)
                | DataType::LargeListView(item),
                DataType::List(_),
            ) => {
                let list = arrow::compute::cast(array, &DataType::List(Arc::clone(item)))?;
                self.reshape(&list, to, owners)
            }
            (DataType::Struct(_) | DataType::List(_), DataType::Utf8) => json_column(array),
            (_, DataType::Struct(_)) => self.misfit(array, to, "objects", owners),
            (_, DataType::List(_)) => self.misfit(array, to, "lists", owners),
            _ => {
                let changed = recast(array, to);
                self.rescue(array, |row| changed.is_null(row), &format!("does not fit {to}"), owners)?;
                Ok(changed)
            }
        }
    }

    fn list(&mut self, list: &ListArray, item: &FieldRef, owners: Owners<'_>) -> Reshaped {
        let mut inner = vec![-1; list.values().len()];
        for row in (0..list.len()).filter(|row| list.is_valid(*row)) {
            let owner = owners.map_or(row as i64, |o| o[row]);
            let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
            inner[range].fill(owner);
        }
        let values = self.reshape(list.values(), item.data_type(), Some(&inner))?;
        Ok(Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?))
    }

    fn misfit(&mut self, array: &ArrayRef, to: &DataType, were: &str, owners: Owners<'_>) -> Reshaped {
        let is = match array.data_type() {
            DataType::Struct(_) => "an object",
            DataType::List(_) => "a list",
            _ => "text",
        };
        self.rescue(array, |_| true, &format!("is {is} where {were} were"), owners)?;
        Ok(new_null_array(to, array.len()))
    }

    /// Keeps the values of `array` at the rows that `lost` names.
    fn rescue(
        &mut self,
        array: &ArrayRef,
        lost: impl Fn(usize) -> bool,
        why: &str,
        owners: Owners<'_>,
    ) -> std::result::Result<(), ArrowError> {
        if array.data_type() == &DataType::Null {
            return Ok(());
        }
        let path = self.path.join(".");
        for row in (0..array.len()).filter(|row| array.is_valid(*row) && lost(*row)) {
            let owner = owners.map_or(row as i64, |o| o[row]);
            if let Ok(owner) = usize::try_from(owner) {
                let rescue = self.rescues.entry(owner).or_default();
                rescue.because(format!("`{path}` {why}"));
                rescue.field(&path, &json_text(array, row)?);
            }
        }
        Ok(())
    }

    /// `reshaped` with the origin of `batch`.
    fn finish(&mut self, reshaped: RecordBatch, batch: &RawBatch) -> RawBatch {
        let mut rescued = batch.rescued.clone();
        if !self.rescues.is_empty() {
            let mut all = StringBuilder::new();
            for (row, earlier) in batch.rescued.iter().enumerate() {
                match (self.rescues.remove(&row), earlier) {
                    (Some(mut rescue), earlier) => {
                        rescue.merge(earlier.unwrap_or_default());
                        all.append_value(rescue.take());
                    }
                    (None, earlier) => all.append_option(earlier),
                }
            }
            rescued = all.finish();
        }
        RawBatch { batch: reshaped, source_rows: batch.source_rows.clone(), rescued }
    }

    /// What was left of `rows` rows, as a column.
    pub(super) fn rescued(mut self, rows: usize) -> arrow::array::StringArray {
        (0..rows).map(|row| self.rescues.remove(&row).map(|mut r| r.take())).collect()
    }
}

fn json_column(array: &ArrayRef) -> Reshaped {
    let mut texts = StringBuilder::new();
    for row in 0..array.len() {
        match array.is_null(row) {
            true => texts.append_null(),
            false => texts.append_value(json_text(array, row)?),
        }
    }
    Ok(Arc::new(texts.finish()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::super::testing::{Read, types};
    use super::super::{Format, Input, ReadOptions, merge_schemas, open, settle};
    use super::*;

    fn first(text: &str) -> RawBatch {
        let input = Input::Memory(text.to_owned().into());
        open(input, &ReadOptions::new(Format::Ndjson), "f").unwrap().next_batch().unwrap().unwrap()
    }

    fn shown(batch: &RawBatch) -> Read {
        let mut read = Read::default();
        read.add(batch);
        read
    }

    #[test]
    fn a_batch_takes_a_wider_shape_and_loses_nothing() {
        let old = first("{\"u\":{\"a\":1},\"l\":[],\"z\":null}\n");
        let new = first("{\"x\":9,\"u\":{\"b\":2},\"l\":[{\"k\":1}],\"z\":\"t\"}\n");
        let merged = Arc::new(settle(&merge_schemas(&old.batch.schema(), &new.batch.schema())));
        assert_eq!(types(&merged), "u: {a: Utf8, b: Utf8}, l: [{k: Utf8}], z: Utf8, x: Utf8");
        assert_eq!(shown(&conform(&old, &merged).unwrap()).rows, [r#"{"u":{"a":"1","b":null},"l":[],"z":null,"x":null}"#]);
        let new = conform(&new, &merged).unwrap();
        assert_eq!(shown(&new).rows, [r#"{"u":{"a":null,"b":"2"},"l":[{"k":"1"}],"z":"t","x":"9"}"#]);
        assert_eq!(new.batch.schema(), merged);
    }

    #[test]
    fn a_value_that_does_not_fit_is_rescued_beside_what_was() {
        let batch = first("{\"n\":\"7\",\"u\":\"bob\",\"l\":[1,\"x\"],\"gone\":5,\"n\":6}\n{\"n\":8}\n");
        let u = DataType::Struct(vec![Field::new("a", DataType::Utf8, true)].into());
        let target = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("u", u, true),
            Field::new("l", DataType::List(Arc::new(Field::new("element", DataType::Int64, true))), true),
        ]));
        let read = shown(&conform(&batch, &target).unwrap());
        assert_eq!(read.rows, [r#"{"n":7,"u":null,"l":[1,null]}"#, r#"{"n":8,"u":null,"l":null}"#]);
        assert_eq!(
            read.rescued[0].as_deref(),
            Some(concat!(
                r#"{"reason":"`n` is given more than once; `u` is text where objects were; `l` does not fit Int64; `gone` has no column","#,
                r#""fields":{"gone":"5","l":"x","n":6,"u":"bob"}}"#
            ))
        );
        assert_eq!(read.rescued[1], None);
    }

    #[test]
    fn objects_become_text_where_text_was() {
        let batch = first("{\"u\":{\"a\":1,\"b c\":null}}\n{\"u\":{}}\n{}\n");
        let target = Arc::new(Schema::new(vec![Field::new("u", DataType::Utf8, true)]));
        let texts = conform(&batch, &target).unwrap();
        let texts: &StringArray = texts.batch.column(0).as_string();
        assert_eq!(texts.iter().collect::<Vec<_>>(), [Some(r#"{"a":"1","b c":null}"#), Some(r#"{"a":null,"b c":null}"#), None]);
        let empty = first("{\"u\":{}}\n{\"u\":null}\n");
        assert_eq!(shown(&conform(&empty, &target).unwrap()).rows, [r#"{"u":"{}"}"#, r#"{"u":null}"#]);
    }

    #[test]
    fn items_of_a_sliced_list_are_rescued_into_their_own_row() {
        let batch = first("{\"l\":[\"a\",\"b\"]}\n{\"l\":[\"1\",\"c\"]}\n{\"l\":[\"2\"]}\n");
        let sliced = RawBatch {
            batch: batch.batch.slice(1, 2),
            source_rows: Int64Array::from(vec![2, 3]),
            rescued: batch.rescued.slice(1, 2),
        };
        let item = Arc::new(Field::new("element", DataType::Int64, true));
        let target = Arc::new(Schema::new(vec![Field::new("l", DataType::List(item), true)]));
        let read = shown(&conform(&sliced, &target).unwrap());
        assert_eq!(read.rows, [r#"{"l":[1,null]}"#, r#"{"l":[2]}"#]);
        assert_eq!(read.rescued, [Some(r#"{"reason":"`l` does not fit Int64","fields":{"l":"c"}}"#.to_owned()), None]);
    }
}
