//! Reading in tests: a file's rows as the JSON text a person would write down.

use arrow::array::{Array, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Schema};
use bytes::Bytes;

use super::leaf::json_text;
use super::{Format, Input, RawBatch, ReadOptions, open};

/// What reading a whole file gave.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) rows: Vec<String>,
    pub(super) numbers: Vec<i64>,
    pub(super) rescued: Vec<Option<String>>,
    /// Rows of each batch.
    pub(super) batches: Vec<usize>,
    /// The last batch's columns.
    pub(super) types: String,
}

pub(super) fn read(format: Format, bytes: &[u8]) -> Read {
    read_with(ReadOptions::new(format), bytes)
}

pub(super) fn read_with(options: ReadOptions, bytes: &[u8]) -> Read {
    try_read(&options, bytes).unwrap()
}

pub(super) fn try_read(options: &ReadOptions, bytes: &[u8]) -> lake::Result<Read> {
    let mut reader = open(Input::Memory(Bytes::copy_from_slice(bytes)), options, "f")?;
    let mut read = Read::default();
    let mut before: Option<RecordBatch> = None;
    while let Some(batch) = reader.next_batch()? {
        if let Some(before) = before {
            let names = |b: &RecordBatch| b.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
            assert!(names(&batch.batch).starts_with(&names(&before)), "a later batch changed the order of columns");
        }
        before = Some(batch.batch.clone());
        read.add(&batch);
    }
    Ok(read)
}

impl Read {
    pub(super) fn add(&mut self, raw: &RawBatch) {
        assert_eq!(raw.batch.num_rows(), raw.source_rows.len());
        assert_eq!(raw.batch.num_rows(), raw.rescued.len());
        self.batches.push(raw.batch.num_rows());
        self.types = types(&raw.batch.schema());
        self.rows.extend(rows(&raw.batch));
        self.numbers.extend(raw.source_rows.values());
        self.rescued.extend(raw.rescued.iter().map(|r| r.map(str::to_owned)));
    }
}

/// Each row as JSON.
pub(super) fn rows(batch: &RecordBatch) -> Vec<String> {
    let fields = batch.schema().fields().clone();
    let rows = StructArray::try_new_with_length(fields, batch.columns().to_vec(), None, batch.num_rows()).unwrap();
    (0..batch.num_rows()).map(|row| json_text(&rows as &dyn Array, row).unwrap()).collect()
}

/// Names and types on one line.
pub(super) fn types(schema: &Schema) -> String {
    fn one(kind: &DataType) -> String {
        match kind {
            DataType::Struct(fields) => {
                let fields: Vec<_> = fields.iter().map(|f| format!("{}: {}", f.name(), one(f.data_type()))).collect();
                format!("{{{}}}", fields.join(", "))
            }
            DataType::List(item) => format!("[{}]", one(item.data_type())),
            other => other.to_string(),
        }
    }
    let columns: Vec<_> = schema.fields().iter().map(|f| format!("{}: {}", f.name(), one(f.data_type()))).collect();
    columns.join(", ")
}
