//! Rows on their way into a batch: numbers, columns and what did not fit.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::Schema;
use lake::{Error, ErrorKind, Result};

use super::buffer::{KEPT_BYTES, LongRecord};
use super::columns::{Group, Walk};
use super::naming::Naming;
use super::rescue::Rescue;
use super::tape::{Fault, Kind, Node, parse};
use super::{RawBatch, ReadOptions};

/// Most cells of a batch: a wide batch of sparse rows takes memory for every cell.
const BATCH_CELLS: usize = 4 << 20;

/// Nodes whose memory is kept from record to record.
const KEPT_NODES: usize = 64 << 10;

/// Collects rows until a batch is full.
pub(super) struct RowWriter {
    columns: Group,
    numbers: Vec<i64>,
    rescued: StringBuilder,
    bytes: usize,
    batch_rows: usize,
    batch_bytes: usize,
    nodes: Vec<Node>,
    rescue: Rescue,
    scratch: String,
    fields: usize,
    /// Fields that the last batch had.
    shown: usize,
}

impl RowWriter {
    pub(super) fn new(options: &ReadOptions) -> Self {
        let known = options.known.fields();
        let naming = Naming::of_table(known, options.workspace_column.as_deref());
        Self {
            columns: Group::new(naming, known),
            numbers: Vec::new(),
            rescued: StringBuilder::new(),
            bytes: 0,
            batch_rows: options.batch_rows.max(1),
            batch_bytes: options.batch_bytes.max(1),
            nodes: Vec::new(),
            rescue: Rescue::default(),
            scratch: String::new(),
            fields: 0,
            shown: 0,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        let rows = self.numbers.len();
        rows >= self.batch_rows || self.bytes >= self.batch_bytes || rows * self.columns.width() >= BATCH_CELLS
    }

    pub(super) fn has_rows(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// Whether there is anything to tell: rows, or columns that no batch has shown.
    pub(super) fn has_news(&self) -> bool {
        !self.numbers.is_empty() || self.shown == 0 && self.columns.width() > 0
    }

    /// The columns, for a reader that names them itself.
    pub(super) fn columns(&mut self) -> &mut Group {
        &mut self.columns
    }

    /// Puts `text` into the column in `slot` of the row that [`RowWriter::end`] will end.
    pub(super) fn text(&mut self, slot: usize, text: &str) {
        if let Err(expected) = self.columns.column(slot).append_text(text) {
            let key = self.columns.key(slot);
            self.rescue.because(format!("`{key}` is text where {expected} were"));
            self.rescue.text_field(key, text);
        }
    }

    pub(super) fn rescue(&mut self) -> &mut Rescue {
        &mut self.rescue
    }

    /// Takes one JSON record, of whatever quality.
    pub(super) fn json(&mut self, number: i64, record: &[u8]) {
        let text = match std::str::from_utf8(record) {
            Ok(text) => text,
            Err(error) => return self.broken(number, &format!("byte {} is not UTF-8", error.valid_up_to() + 1), record),
        };
        let mut nodes = std::mem::take(&mut self.nodes);
        match parse(text, &mut nodes) {
            Ok(()) if nodes.first().is_some_and(|n| n.kind == Kind::Object) => {
                let mut walk = Walk {
                    text,
                    nodes: &nodes,
                    path: Vec::new(),
                    rescue: &mut self.rescue,
                    scratch: &mut self.scratch,
                    fields: &mut self.fields,
                };
                self.columns.append(0, &mut walk);
                self.note(number, record.len());
            }
            Ok(()) => self.broken(number, "not an object", record),
            Err(Fault { at, what }) => self.broken(number, &format!("not JSON: {what}, at byte {}", at + 1), record),
        }
        nodes.clear();
        nodes.shrink_to(KEPT_NODES);
        self.nodes = nodes;
    }

    /// Ends a row whose columns the reader has filled; `bytes` is the length of its record.
    pub(super) fn end(&mut self, number: i64, bytes: usize) {
        self.columns.end_row();
        self.note(number, bytes);
    }

    /// Keeps a record that cannot be taken apart.
    pub(super) fn broken(&mut self, number: i64, reason: &str, record: &[u8]) {
        self.rescue.because(reason);
        self.rescue.record(record);
        self.end(number, record.len());
    }

    /// Keeps the start of a record that is over the limit.
    pub(super) fn too_long(&mut self, number: i64, record: &LongRecord, limit: usize) {
        self.rescue.because(format!("record is longer than {limit} bytes; its first {KEPT_BYTES} are kept"));
        self.rescue.length(record.length);
        self.rescue.record(&record.head);
        self.end(number, record.head.len());
    }

    fn note(&mut self, number: i64, bytes: usize) {
        self.numbers.push(number);
        self.bytes += bytes;
        match self.rescue.is_empty() {
            true => self.rescued.append_null(),
            false => self.rescued.append_value(self.rescue.take()),
        }
    }

    /// The rows so far as a batch.
    pub(super) fn finish(&mut self) -> Result<RawBatch> {
        let (fields, arrays) = self.columns.finish_columns();
        self.columns.clear();
        self.bytes = 0;
        self.shown = fields.len();
        let numbers = Int64Array::from(std::mem::take(&mut self.numbers));
        let rows = RecordBatchOptions::new().with_row_count(Some(numbers.values().len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &rows)
            .map_err(|e| Error::new(ErrorKind::Internal, "rows of a file do not make a batch").with_source(e))?;
        Ok(RawBatch { batch, source_rows: numbers, rescued: self.rescued.finish() })
    }
}
