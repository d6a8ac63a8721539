//! Files of any supported format as Arrow batches of raw columns, with row numbers and what did not fit.
//!
//! Every scalar of CSV, NDJSON and JSON is kept as the text that was delivered; objects are structs, arrays lists. Parquet keeps its
//! types, made fit for Delta. A shape nobody has seen yet (a column with nothing but nulls) is Arrow's `Null` type until a
//! caller [`settle`]s it.

mod buffer;
mod columns;
mod compression;
mod conform;
mod csv;
mod extent;
mod json;
mod leaf;
mod naming;
mod ndjson;
mod open;
mod parquet;
mod ranged;
mod rescue;
mod rows;
mod schema;
mod tape;
#[cfg(test)]
mod testing;

use std::str::FromStr;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use lake::{Error, ErrorKind, Result};

pub use compression::Compression;
pub use conform::conform;
pub use naming::{KEY_METADATA, RESERVED, key_of};
pub use open::{Input, open, peek};
pub use ranged::RangedFile;
pub use schema::{merge_schemas, settle};

/// What a file's bytes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Records of fields separated by one character, quoted as in RFC 4180.
    Csv,
    /// One JSON object on each line.
    Ndjson,
    /// One array of objects, one object, or several of either after each other.
    Json,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 4] = [Format::Csv, Format::Ndjson, Format::Json, Format::Parquet];

    /// As written in a pipeline.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Ndjson => "ndjson",
            Format::Json => "json",
            Format::Parquet => "parquet",
        }
    }

    /// The format a file's name tells, such as `posts.ndjson.gz`; `None` when it tells none.
    pub fn from_file_name(name: &str) -> Option<Self> {
        match ending(name).as_str() {
            "csv" | "tsv" => Some(Format::Csv),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            "json" => Some(Format::Json),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

impl FromStr for Format {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "csv" => Ok(Format::Csv),
            "ndjson" | "jsonl" => Ok(Format::Ndjson),
            "json" => Ok(Format::Json),
            "parquet" => Ok(Format::Parquet),
            _ => Err(Error::new(ErrorKind::Config, format!("`{text}` is not a format"))
                .with_hint("the formats are `csv`, `ndjson`, `json` and `parquet`")),
        }
    }
}

/// The last part of a file's name in lower case, without the ending of a compression.
fn ending(name: &str) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name).to_lowercase();
    let plain = [".gz", ".gzip", ".zst", ".zstd"].iter().find_map(|e| file.strip_suffix(e)).unwrap_or(&file);
    plain.rsplit_once('.').map(|(_, e)| e.to_owned()).unwrap_or_default()
}

/// How to read a file.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// What the bytes mean.
    pub format: Format,
    /// How the bytes are packed; `None` asks the first bytes, never the name.
    pub compression: Option<Compression>,
    /// Between the fields of a CSV record; `None` is a tab for a file that ends in `.tsv` and a comma for any other.
    pub delimiter: Option<u8>,
    /// Whether the first CSV record names the columns; otherwise they are `column_1`, `column_2` and so on.
    pub header: bool,
    /// Most rows of a batch.
    pub batch_rows: usize,
    /// Most bytes of records in a batch, give or take one record.
    pub batch_bytes: usize,
    /// The longest record that is read, in bytes; of a longer one the start is kept as rescued data.
    pub record_bytes: usize,
    /// The column of the feed that names the workspace: it may be called `workspace_id`.
    pub workspace_column: Option<String>,
    /// The raw columns that are established for the table, so that names and shapes hold from file to file. Columns with reserved names
    /// are passed over.
    pub known: SchemaRef,
}

impl ReadOptions {
    /// The defaults for `format`: 8192 rows and 8 MiB a batch, records up to 64 MiB, no column known.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            compression: None,
            delimiter: None,
            header: true,
            batch_rows: 8192,
            batch_bytes: 8 << 20,
            record_bytes: 64 << 20,
            workspace_column: None,
            known: Schema::empty().into(),
        }
    }

    fn delimiter_for(&self, name: &str) -> u8 {
        self.delimiter.unwrap_or(if ending(name) == "tsv" { b'\t' } else { b',' })
    }
}

/// Rows as delivered.
#[derive(Debug, Clone)]
pub struct RawBatch {
    /// The raw columns and nothing else. From batch to batch of a file the schema only grows: columns keep their order and gain struct
    /// fields, a `Null` becomes a shape. Of text formats it starts with the known columns.
    pub batch: RecordBatch,
    /// The record's number in the file, from 1: the data row of CSV (the header is not counted), the line of NDJSON, the element of JSON,
    /// the row of Parquet.
    pub source_rows: Int64Array,
    /// A JSON object of what did not fit, with its `reason`; null where all did.
    pub rescued: StringArray,
}

/// Reads one file to its end. It blocks: an asynchronous caller gives it a thread of its own.
pub trait BatchReader: Send {
    /// The next rows, or `None` at the end. A batch without rows brings columns only (the header of a CSV file without rows).
    ///
    /// # Errors
    /// The file cannot be read or unpacked; what was read of it before must not be kept.
    fn next_batch(&mut self) -> Result<Option<RawBatch>>;

    /// Bytes read of the file as it is stored, for progress.
    fn bytes_read(&self) -> u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_tells_its_format_with_or_without_compression() {
        for (name, format) in [
            ("a.csv", Some(Format::Csv)),
            ("dir.parquet/a.TSV", Some(Format::Csv)),
            ("a.csv.gz", Some(Format::Csv)),
            ("a.b.ndjson.zst", Some(Format::Ndjson)),
            ("a.jsonl", Some(Format::Ndjson)),
            ("a.json.GZ", Some(Format::Json)),
            ("a.snappy.parquet", Some(Format::Parquet)),
            ("csv", None),
            ("a.gz", None),
            ("a.txt", None),
        ] {
            assert_eq!(Format::from_file_name(name), format, "{name}");
        }
    }

    #[test]
    fn a_format_reads_back_from_its_own_name() {
        for format in Format::ALL {
            assert_eq!(format.as_str().parse::<Format>().unwrap(), format);
        }
        let error = "xlsx".parse::<Format>().unwrap_err();
        assert_eq!(error.to_string(), "`xlsx` is not a format");
        assert!(error.hint().unwrap().contains("`ndjson`"));
    }
}
