//! From a stored file to its reader.

use std::fs::File;
use std::io::{Cursor, Read, Seek};

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use lake::{Error, ErrorKind, Result};

use super::buffer::Buffer;
use super::compression::{Compression, unpacked};
use super::csv::CsvReader;
use super::json::JsonReader;
use super::ndjson::NdjsonReader;
use super::parquet::{ParquetReader, Seekable};
use super::ranged::{Mirror, RangedFile};
use super::{BatchReader, Format, RawBatch, ReadOptions};

/// Where a file's bytes are.
pub enum Input {
    /// On local disk, from the file's current position.
    File(File),
    /// In memory.
    Memory(Bytes),
    /// Elsewhere, in parts. Parquet goes through a temporary file, part by part.
    Ranged(Box<dyn RangedFile>),
    /// Anywhere else, read once from front to back. Parquet from a stream goes through a temporary file.
    Stream(Box<dyn Read + Send>),
}

/// A reader of `input`; `name` is what errors call the file.
///
/// # Errors
/// [`ErrorKind::Data`] when the first bytes show that the file is not what `options` say, [`ErrorKind::Storage`] when they cannot be
/// read, [`ErrorKind::Config`] when the options contradict each other.
pub fn open(input: Input, options: &ReadOptions, name: &str) -> Result<Box<dyn BatchReader>> {
    if options.format == Format::Parquet {
        return Ok(Box::new(open_parquet(input, options, name)?));
    }
    let stored: Box<dyn Read + Send> = match input {
        Input::File(file) => Box::new(file),
        Input::Memory(bytes) => Box::new(Cursor::new(bytes)),
        Input::Ranged(file) => file.stream(),
        Input::Stream(stream) => stream,
    };
    let (plain, count) = unpacked(stored, options.compression, name)?;
    let buffer = Buffer::new(plain, count, name, options.record_bytes);
    Ok(match options.format {
        Format::Csv => Box::new(CsvReader::new(buffer, options, options.delimiter_for(name))?),
        Format::Json => Box::new(JsonReader::new(buffer, options)?),
        Format::Ndjson | Format::Parquet => Box::new(NdjsonReader::new(buffer, options)?),
    })
}

fn open_parquet(input: Input, options: &ReadOptions, name: &str) -> Result<ParquetReader> {
    if !matches!(options.compression, None | Some(Compression::None)) {
        return Err(Error::new(ErrorKind::Config, "a Parquet file is not packed as a whole").with_hint("leave out `compression`"));
    }
    let input = match input {
        Input::File(file) => Seekable::File(file),
        Input::Memory(bytes) => Seekable::Memory(bytes),
        Input::Ranged(file) => Seekable::Mirror(Mirror::new(file)?),
        Input::Stream(stream) => Seekable::File(spooled(stream).map_err(|e| {
            Error::new(ErrorKind::Storage, format!("`{name}` cannot be copied to a temporary file: {e}")).with_source(e)
        })?),
    };
    ParquetReader::new(input, options, name)
}

fn spooled(mut stream: Box<dyn Read + Send>) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    std::io::copy(&mut stream, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// The columns that the first batch of `input` shows, and whether they are those of the whole file: of Parquet always, of other
/// formats when the file ends with that batch.
///
/// # Errors
/// As [`open`] and [`BatchReader::next_batch`].
pub fn peek(input: Input, options: &ReadOptions, name: &str) -> Result<(SchemaRef, bool)> {
    if options.format == Format::Parquet {
        return Ok((open_parquet(input, options, name)?.schema(), true));
    }
    let mut reader = open(input, options, name)?;
    let Some(RawBatch { batch, .. }) = reader.next_batch()? else { return Ok((options.known.clone(), true)) };
    let complete = reader.next_batch()?.is_none();
    Ok((batch.schema(), complete))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Write;
    use std::time::Instant;

    use arrow::array::Array;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::testing::{read, read_with, try_read, types};
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn lines(rows: usize) -> Vec<u8> {
        (0..rows).flat_map(|i| format!("{{\"id\":{i},\"text\":\"row number {}\"}}\n", i * 7919).into_bytes()).collect()
    }

    #[test]
    fn packed_files_read_as_plain_ones() {
        let plain = lines(1000);
        let expected = read(Format::Ndjson, &plain).rows;
        assert_eq!(expected.len(), 1000);
        assert_eq!(read(Format::Ndjson, &gzip(&plain)).rows, expected);
        assert_eq!(read(Format::Ndjson, &zstd::encode_all(&plain[..], 3).unwrap()).rows, expected);
        assert_eq!(read(Format::Json, &gzip(&plain)).rows, expected);
    }

    #[test]
    fn a_packed_file_that_is_cut_off_or_damaged_is_an_error() {
        let plain = lines(50_000);
        for packed in [gzip(&plain), zstd::encode_all(&plain[..], 3).unwrap()] {
            let cut = try_read(&ReadOptions::new(Format::Ndjson), &packed[..packed.len() - 100]).unwrap_err();
            assert_eq!(cut.kind(), ErrorKind::Data);
            assert!(cut.to_string().starts_with("`f` is cut off"), "{cut}");
            let mut damaged = packed;
            let middle = damaged.len() / 2;
            damaged[middle..middle + 64].fill(0xff);
            let damage = try_read(&ReadOptions::new(Format::Ndjson), &damaged).unwrap_err();
            assert_eq!(damage.kind(), ErrorKind::Data, "{damage}");
        }
    }

    #[test]
    fn progress_counts_the_bytes_as_stored() {
        let packed = gzip(&lines(1000));
        let mut reader = open(Input::Memory(packed.clone().into()), &ReadOptions::new(Format::Ndjson), "f").unwrap();
        while reader.next_batch().unwrap().is_some() {}
        assert_eq!(reader.bytes_read(), packed.len() as u64);
    }

    #[test]
    fn peeking_tells_whether_it_saw_everything() {
        let options = ReadOptions { batch_rows: 10, ..ReadOptions::new(Format::Ndjson) };
        let schema = |rows| peek(Input::Memory(lines(rows).into()), &options, "f").unwrap();
        assert!(schema(10).1);
        assert!(!schema(11).1);
        assert_eq!(types(&schema(11).0), "id: Utf8, text: Utf8");
        assert_eq!(peek(Input::Memory(Bytes::new()), &options, "f").unwrap(), (options.known.clone(), true));
    }

    #[test]
    fn a_parquet_file_reads_from_a_stream() {
        let error =
            open(Input::Stream(Box::new(Cursor::new(b"PAR1".to_vec()))), &ReadOptions::new(Format::Parquet), "f").err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Data);
        let options = ReadOptions { compression: Some(Compression::Gzip), ..ReadOptions::new(Format::Parquet) };
        assert_eq!(open(Input::Memory(Bytes::new()), &options, "f").err().unwrap().kind(), ErrorKind::Config);
    }

    #[test]
    fn shapes_hold_from_file_to_file() {
        let mut known = ReadOptions::new(Format::Ndjson).known;
        let mut rescued = Vec::new();
        for file in ["{\"u\":{\"a\":1},\"s\":1}\n", "{\"s\":{\"x\":2},\"u\":\"bob\",\"A b\":1}\n", "{\"a_B\":1,\"A b\":2}\n"] {
            let options = ReadOptions { known: known.clone(), ..ReadOptions::new(Format::Ndjson) };
            let mut reader = open(Input::Memory(file.into()), &options, "f").unwrap();
            let batch = reader.next_batch().unwrap().unwrap();
            known = super::super::merge_schemas(&known, &batch.batch.schema()).into();
            rescued.push(batch.rescued.is_valid(0));
        }
        assert_eq!(types(&known), "u: {a: Utf8}, s: Utf8, A_b: Utf8, a_B_2: Utf8");
        assert_eq!(rescued, [false, true, false]);
    }

    fn value(text: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-d]", inner, 0..4).prop_map(Value::from_iter),
            ]
        })
    }

    /// The value as the platform stores it: every scalar as its text.
    fn stored(value: &Value) -> Value {
        match value {
            Value::Bool(_) | Value::Number(_) => Value::String(value.to_string()),
            Value::Array(items) => items.iter().map(stored).collect(),
            Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), stored(v))).collect(),
            other => other.clone(),
        }
    }

    /// Whether `read` says what `wrote` says; a field that is null may be missing.
    fn same(wrote: &Value, read: &Value) -> bool {
        match (wrote, read) {
            (Value::Object(wrote), Value::Object(read)) => {
                let keys = wrote.keys().chain(read.keys());
                keys.into_iter().all(|k| same(wrote.get(k).unwrap_or(&Value::Null), read.get(k).unwrap_or(&Value::Null)))
            }
            (Value::Array(wrote), Value::Array(read)) => {
                wrote.len() == read.len() && wrote.iter().zip(read).all(|(w, r)| same(w, r))
            }
            (wrote, read) => wrote == read,
        }
    }

    proptest! {
        #[test]
        fn records_of_one_shape_read_back_as_delivered(values in prop::collection::vec(value(any::<String>()), 1..4)) {
            let mut shape = Shape::default();
            let values: Vec<Value> = values.into_iter().filter(|v| shape.fits(v)).collect();
            // A value that did not fit may have left a part of its shape behind.
            let mut shape = Shape::default();
            prop_assume!(values.iter().all(|v| shape.fits(v)));
            let text: String = values.iter().map(|v| json!({ "v": v }).to_string() + "\n").collect();
            for format in [Format::Ndjson, Format::Json] {
                let read = read(format, text.as_bytes());
                prop_assert_eq!(read.rows.len(), values.len());
                for ((row, rescued), value) in read.rows.iter().zip(&read.rescued).zip(&values) {
                    let row: Value = serde_json::from_str(row).unwrap();
                    prop_assert!(same(&stored(value), &row["v"]), "{text} {row}");
                    prop_assert_eq!(rescued, &None);
                }
            }
        }

        #[test]
        fn no_scalar_is_lost_whatever_the_shapes(values in prop::collection::vec(value("[a-z]{8}".boxed()), 1..6), batch_rows in 1_usize..4) {
            let text: String = values.iter().map(|v| json!({ "v": v }).to_string() + "\n").collect();
            let read = read_with(ReadOptions { batch_rows, ..ReadOptions::new(Format::Ndjson) }, text.as_bytes());
            for ((row, rescued), value) in read.rows.iter().zip(&read.rescued).zip(&values) {
                let kept = format!("{row}{}", rescued.as_deref().unwrap_or_default());
                let mut wanted = Vec::new();
                scalars(value, &mut wanted);
                for scalar in wanted {
                    prop_assert!(kept.contains(&scalar), "{scalar} of {value} is not in {kept}");
                }
            }
        }

        #[test]
        fn scalars_of_many_records_read_back_as_delivered(values in prop::collection::vec((any::<String>(), any::<f64>(), any::<Option<i64>>()), 0..40)) {
            let text: String = values.iter().map(|(s, f, i)| json!({ "s": s, "f": f, "i": i }).to_string() + "\n").collect();
            let read = read_with(ReadOptions { batch_rows: 7, ..ReadOptions::new(Format::Ndjson) }, text.as_bytes());
            prop_assert_eq!(read.rows.len(), values.len());
            for (row, (s, f, i)) in read.rows.iter().zip(&values) {
                let row: Value = serde_json::from_str(row).unwrap();
                prop_assert!(same(&stored(&json!({ "s": s, "f": f, "i": i })), &row), "{row}");
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_every_row_has_a_number(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for format in Format::ALL {
                let _ = try_read(&ReadOptions::new(format), &bytes);
            }
        }

        #[test]
        fn garbage_that_looks_right_never_panics(text in r#"[\[\]{}":,a1\\\n\r e.\-]{0,80}"#) {
            for format in Format::ALL {
                for batch_rows in [1, 8192] {
                    let _ = try_read(&ReadOptions { batch_rows, record_bytes: 16, ..ReadOptions::new(format) }, text.as_bytes());
                }
            }
        }
    }

    /// The shape rule, written down a second time.
    #[derive(Default)]
    enum Shape {
        #[default]
        Unknown,
        Text,
        Object(HashMap<String, Shape>),
        List(Box<Shape>),
    }

    impl Shape {
        /// Whether `value` keeps its own shape here.
        fn fits(&mut self, value: &Value) -> bool {
            if let Shape::Unknown = self {
                *self = match value {
                    Value::Null => Shape::Unknown,
                    Value::Object(_) => Shape::Object(HashMap::new()),
                    Value::Array(_) => Shape::List(Box::default()),
                    _ => Shape::Text,
                };
            }
            match (self, value) {
                (_, Value::Null) | (Shape::Text, Value::String(_) | Value::Number(_) | Value::Bool(_)) => true,
                (Shape::Object(shapes), Value::Object(fields)) => {
                    fields.iter().all(|(k, v)| shapes.entry(k.clone()).or_default().fits(v))
                }
                (Shape::List(shape), Value::Array(items)) => items.iter().all(|v| shape.fits(v)),
                _ => false,
            }
        }
    }

    /// Every scalar in `value`, as its text.
    fn scalars(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Null => {}
            Value::Object(fields) => fields.values().for_each(|v| scalars(v, found)),
            Value::Array(items) => items.iter().for_each(|v| scalars(v, found)),
            Value::String(text) => found.push(text.clone()),
            other => found.push(other.to_string()),
        }
    }

    /// It also prints the rate, to be looked at with `--nocapture`; a rate is nothing to assert.
    #[test]
    fn every_record_of_a_long_file_is_read() {
        let rows = 40_000;
        let ndjson: Vec<u8> = (0..rows)
            .flat_map(|i| {
                format!(
                    "{{\"id\":\"{i:08}\",\"user\":{{\"name\":\"user {}\",\"followers\":{}}},\"text\":\"a post of some length about brand {}\",\"created\":\"2024-01-02T03:04:05Z\",\"likes\":{},\"tags\":[\"a\",\"b\"],\"op\":\"I\"}}\n",
                    i % 1000, i % 977, i % 10, i % 100
                )
                .into_bytes()
            })
            .collect();
        let csv: Vec<u8> = std::iter::once("id,name,followers,text,created,likes,op\n".to_owned())
            .chain((0..rows).map(|i| {
                format!(
                    "{i:08},user {},{},\"a post of some length, about brand {}\",2024-01-02T03:04:05Z,{},I\n",
                    i % 1000,
                    i % 977,
                    i % 10,
                    i % 100
                )
            }))
            .flat_map(String::into_bytes)
            .collect();
        for (format, bytes) in [(Format::Ndjson, ndjson.clone()), (Format::Json, ndjson), (Format::Csv, csv)] {
            let size = bytes.len();
            let started = Instant::now();
            let mut reader = open(Input::Memory(bytes.into()), &ReadOptions::new(format), "f").unwrap();
            let mut read = 0;
            while let Some(batch) = reader.next_batch().unwrap() {
                read += batch.batch.num_rows();
            }
            assert_eq!(read, rows, "{format:?}");
            let seconds = started.elapsed().as_secs_f64();
            println!("{format:?}: {:.2} million rows/s, {:.0} MB/s", read as f64 / seconds / 1e6, size as f64 / seconds / 1e6);
        }
    }
}
