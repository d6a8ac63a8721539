//! Parquet: types are kept, made fit for Delta.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use bytes::Bytes;
use lake::{Error, ErrorKind, Result};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use super::conform::Reshaping;
use super::naming::{Naming, distinct_keys, key_of};
use super::ranged::{Mirror, Trouble};
use super::schema::delta_fields;
use super::{BatchReader, RawBatch, ReadOptions};

/// A Parquet file that can be read from any place.
pub(super) enum Seekable {
    File(File),
    Memory(Bytes),
    Mirror(Mirror),
}

pub(super) struct ParquetReader {
    batches: ParquetRecordBatchReader,
    schema: SchemaRef,
    name: String,
    rows: u64,
    rows_in_file: u64,
    bytes_in_file: u64,
    begun: bool,
    trouble: Trouble,
}

impl ParquetReader {
    pub(super) fn new(input: Seekable, options: &ReadOptions, name: &str) -> Result<Self> {
        match input {
            Seekable::File(file) => Self::open(file, Trouble::default(), options, name),
            Seekable::Memory(bytes) => Self::open(bytes, Trouble::default(), options, name),
            Seekable::Mirror(mirror) => {
                let trouble = mirror.trouble();
                Self::open(mirror, trouble, options, name)
            }
        }
    }

    fn open<R: ChunkReader + 'static>(input: R, trouble: Trouble, options: &ReadOptions, name: &str) -> Result<Self> {
        let bytes_in_file = input.len();
        let begin = || -> std::result::Result<_, ParquetError> {
            // The Arrow schema that some writers embed is not asked: the types are those that every reader sees.
            let metadata = ArrowReaderMetadata::load(&input, ArrowReaderOptions::new().with_skip_arrow_metadata(true))?;
            let metadata = with_whole_range(metadata);
            let file = metadata.metadata().file_metadata();
            let rows_in_file = u64::try_from(file.num_rows()).unwrap_or_default();
            let unpacked: i64 =
                metadata.metadata().row_groups().iter().map(|g| g.total_byte_size().max(0)).fold(0, i64::saturating_add);
            let rows = batch_rows(options, rows_in_file, unpacked.unsigned_abs());
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, metadata).with_batch_size(rows);
            Ok((builder.schema().fields().clone(), builder.build()?, rows_in_file))
        };
        let (fields, batches, rows_in_file) = contained(begin).map_err(|why| {
            let damaged = || Error::new(ErrorKind::Data, format!("`{name}` is not a Parquet file that can be read: {why}"));
            trouble.take().unwrap_or_else(damaged)
        })?;
        let schema = Arc::new(Schema::new(named(&fields, options)));
        Ok(Self { batches, schema, name: name.to_owned(), rows: 0, rows_in_file, bytes_in_file, begun: false, trouble })
    }

    /// The columns, which a Parquet file tells without its rows being read.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn raw(&mut self, batch: &RecordBatch) -> std::result::Result<RawBatch, ArrowError> {
        let mut reshaping = Reshaping::default();
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
            columns.push(reshaping.column(key_of(field), array, field.data_type(), None)?);
        }
        let rows = batch.num_rows();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema(), columns, &options)?;
        let before = i64::try_from(self.rows).unwrap_or(i64::MAX);
        self.rows += rows as u64;
        Ok(RawBatch {
            batch,
            source_rows: Int64Array::from_iter_values((1..=rows as i64).map(|r| before + r)),
            rescued: reshaping.rescued(rows),
        })
    }
}

impl BatchReader for ParquetReader {
    fn next_batch(&mut self) -> Result<Option<RawBatch>> {
        let batch = match contained(|| self.batches.next().transpose()) {
            Ok(Some(batch)) => Ok(batch),
            Ok(None) if !self.begun => Ok(RecordBatch::new_empty(self.batches_schema())),
            Ok(None) => return Ok(None),
            Err(why) => Err(why),
        };
        self.begun = true;
        batch.and_then(|b| contained(|| self.raw(&b))).map(Some).map_err(|why| {
            let damaged = || {
                Error::new(ErrorKind::Data, format!("`{}` cannot be read after row {}: {why}", self.name, self.rows))
                    .with_hint("the file is damaged; deliver it again; nothing of it was taken")
            };
            self.trouble.take().unwrap_or_else(damaged)
        })
    }

    fn bytes_read(&self) -> u64 {
        // Column chunks are read out of order, so the share of rows is the honest measure of progress.
        match self.rows_in_file {
            0 => self.bytes_in_file,
            rows => (u128::from(self.bytes_in_file) * u128::from(self.rows.min(rows)) / u128::from(rows)) as u64,
        }
    }
}

impl ParquetReader {
    fn batches_schema(&self) -> SchemaRef {
        arrow::array::RecordBatchReader::schema(&self.batches)
    }
}

/// What `work` gives, or why it cannot. The decoders of the `parquet` crate panic on some damaged files; to the user of such a file
/// that is damage like any other, and the reader is not used again.
fn contained<T, E: std::fmt::Display>(work: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(_) => Err("its parts contradict each other".to_owned()),
    }
}

/// Rows of a batch so that it keeps to the bytes asked for, going by the file's average row.
fn batch_rows(options: &ReadOptions, rows: u64, unpacked: u64) -> usize {
    let row_bytes = (unpacked / rows.max(1)).max(1) as usize;
    (options.batch_bytes / row_bytes).clamp(1, options.batch_rows.max(1))
}

/// Spark's older timestamps (INT96) reach beyond what nanoseconds can count, so they are read as microseconds.
fn with_whole_range(metadata: ArrowReaderMetadata) -> ArrowReaderMetadata {
    let file = metadata.metadata();
    if !file.file_metadata().schema_descr().columns().iter().any(|c| c.physical_type() == Type::INT96) {
        return metadata;
    }
    let coarse = Schema::new(coarse_fields(metadata.schema().fields()));
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(Arc::new(coarse));
    ArrowReaderMetadata::try_new(Arc::clone(file), options).unwrap_or(metadata)
}

fn coarse_fields(fields: &Fields) -> Fields {
    fields.iter().map(|f| Arc::new(f.as_ref().clone().with_data_type(coarse(f.data_type())))).collect()
}

fn coarse(kind: &DataType) -> DataType {
    let item = |f: &Arc<Field>| Arc::new(f.as_ref().clone().with_data_type(coarse(f.data_type())));
    match kind {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Struct(fields) => DataType::Struct(coarse_fields(fields)),
        DataType::List(field) => DataType::List(item(field)),
        DataType::Map(entries, sorted) => DataType::Map(item(entries), *sorted),
        other => other.clone(),
    }
}

/// The file's columns under names and types that Delta can hold.
fn named(fields: &Fields, options: &ReadOptions) -> Fields {
    let known = options.known.fields();
    let keys: Vec<String> = fields.iter().map(|f| key_of(f).to_owned()).collect();
    let distinct: Fields =
        fields.iter().zip(distinct_keys(&keys)).map(|(f, key)| Field::new(key, f.data_type().clone(), true)).collect();
    delta_fields(&distinct, &mut Naming::of_table(known, options.workspace_column.as_deref()), known)
}

#[cfg(test)]
mod tests {
    use arrow::array::*;
    use arrow::datatypes::{Int32Type, Schema, UInt8Type};
    use parquet::arrow::ArrowWriter;
    use parquet::data_type::{Int96, Int96Type};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use proptest::prelude::*;

    use super::super::testing::{read, read_with, try_read};
    use super::super::{Format, Input, peek};
    use super::*;

    fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
        let fields: Vec<Field> = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
        let arrays = columns.into_iter().map(|(_, a)| a).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn numbers(rows: i64) -> Vec<u8> {
        let text: StringArray = (0..rows).map(|i| Some(format!("text {i}"))).collect();
        parquet(vec![("n", Arc::new(Int64Array::from_iter_values(0..rows))), ("t", Arc::new(text))])
    }

    #[test]
    fn types_become_what_delta_can_hold() {
        let entries = {
            let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
            map.keys().append_value("k");
            map.values().append_value(1);
            map.append(true).unwrap();
            map.finish()
        };
        let file = parquet(vec![
            ("i", Arc::new(Int32Array::from(vec![1]))),
            ("u8", Arc::new(UInt8Array::from(vec![200]))),
            ("u64", Arc::new(UInt64Array::from(vec![u64::MAX]))),
            ("naive", Arc::new(TimestampMillisecondArray::from(vec![1]))),
            ("zoned", Arc::new(TimestampNanosecondArray::from(vec![1_001]).with_timezone("+02:00"))),
            ("time", Arc::new(Time64MicrosecondArray::from(vec![3_600_000_000]))),
            ("dict", Arc::new(DictionaryArray::<Int32Type>::from_iter(["x"]))),
            ("large", Arc::new(LargeStringArray::from(vec!["l"]))),
            ("fixed", Arc::new(FixedSizeBinaryArray::try_from_iter([[1_u8, 2]].iter()).unwrap())),
            (
                "big",
                Arc::new(
                    Decimal256Array::from_iter_values([arrow::datatypes::i256::from_i128(15)])
                        .with_precision_and_scale(50, 1)
                        .unwrap(),
                ),
            ),
            ("dec", Arc::new(Decimal128Array::from(vec![15]).with_precision_and_scale(10, 1).unwrap())),
            ("list", Arc::new(LargeListArray::from_iter_primitive::<UInt8Type, _, _>([Some([Some(7)])]))),
            ("map", Arc::new(entries)),
            ("b", Arc::new(BooleanArray::from(vec![true]))),
        ]);
        let read = read(Format::Parquet, &file);
        assert_eq!(
            read.types,
            "i: Int32, u8: Int16, u64: Decimal128(20, 0), naive: Timestamp(µs, \"UTC\"), zoned: Timestamp(µs, \"UTC\"), time: Utf8, \
             dict: Utf8, large: Utf8, fixed: Binary, big: Utf8, dec: Decimal128(10, 1), list: [Int16], \
             map: Map(\"key_value\": non-null Struct(\"key\": non-null Utf8, \"value\": Int32), unsorted), b: Boolean"
        );
        assert_eq!(
            read.rows,
            [concat!(
                r#"{"i":1,"u8":200,"u64":18446744073709551615,"naive":"1970-01-01T00:00:00.001Z","zoned":"1970-01-01T00:00:00.000001Z","#,
                r#""time":"01:00:00","dict":"x","large":"l","fixed":"0102","big":"1.5","dec":1.5,"list":[7],"map":"{k: 1}","b":true}"#
            )]
        );
        assert_eq!(read.rescued, [None]);
    }

    #[test]
    fn a_moment_beyond_the_range_is_rescued() {
        let file = parquet(vec![("at", Arc::new(TimestampMillisecondArray::from(vec![0, i64::MAX])))]);
        let read = read(Format::Parquet, &file);
        assert_eq!(read.rows, [r#"{"at":"1970-01-01T00:00:00Z"}"#, r#"{"at":null}"#]);
        assert!(
            read.rescued[1].as_deref().unwrap().starts_with(r#"{"reason":"`at` does not fit Timestamp"#),
            "{:?}",
            read.rescued
        );
    }

    /// A file of one INT96 column, as older Sparks write timestamps: nanoseconds of the day and the Julian day.
    fn int96(days: &[u32]) -> Vec<u8> {
        let schema = Arc::new(parse_message_type("message m { required int96 at; }").unwrap());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
        let values: Vec<Int96> = days.iter().map(|day| Int96::from(vec![1_000_000, 0, *day])).collect();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int96Type>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn old_timestamps_keep_years_that_nanoseconds_cannot_count() {
        let read = read(Format::Parquet, &int96(&[2_440_588, 5_373_484]));
        assert_eq!(read.types, "at: Timestamp(µs, \"UTC\")");
        assert_eq!(read.rows, [r#"{"at":"1970-01-01T00:00:00.001Z"}"#, r#"{"at":"9999-12-31T00:00:00.001Z"}"#]);
    }

    #[test]
    fn names_are_changed_at_every_level() {
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let object = StructArray::from(vec![(Arc::new(Field::new("x y", DataType::Int64, true)), inner.clone())]);
        let read = read(Format::Parquet, &parquet(vec![("_source", inner.clone()), ("a b", Arc::new(object)), ("A_B", inner)]));
        assert_eq!(read.types, "raw__source: Int64, a_b: {x_y: Int64}, A_B_2: Int64");
    }

    #[test]
    fn batches_keep_to_rows_and_bytes() {
        let by_rows = read_with(ReadOptions { batch_rows: 400, ..ReadOptions::new(Format::Parquet) }, &numbers(1000));
        assert_eq!(by_rows.batches, [400, 400, 200]);
        assert_eq!(by_rows.numbers, (1..=1000).collect::<Vec<_>>());
        let by_bytes = read_with(ReadOptions { batch_bytes: 1000, ..ReadOptions::new(Format::Parquet) }, &numbers(1000));
        assert!(by_bytes.batches.iter().all(|rows| *rows < 200), "{:?}", by_bytes.batches);
    }

    #[test]
    fn a_file_without_rows_brings_its_columns() {
        let read = read(Format::Parquet, &numbers(0));
        assert_eq!((read.batches.as_slice(), read.types.as_str()), (&[0][..], "n: Int64, t: Utf8"));
    }

    #[test]
    fn peeking_reads_no_rows() {
        let (schema, complete) = peek(Input::Memory(numbers(100_000).into()), &ReadOptions::new(Format::Parquet), "f").unwrap();
        assert!(complete);
        assert_eq!(super::super::testing::types(&schema), "n: Int64, t: Utf8");
    }

    #[test]
    fn what_is_no_parquet_file_is_an_error_of_the_data() {
        for bytes in [&b""[..], b"PAR1", b"{\"a\":1}\n", &numbers(10)[..100]] {
            let error = try_read(&ReadOptions::new(Format::Parquet), bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Data);
            assert!(error.to_string().starts_with("`f` is not a Parquet file"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_an_error_or_rows_and_never_a_panic(at in any::<prop::sample::Index>(), byte: u8) {
            let mut file = numbers(50);
            let at = at.index(file.len());
            file[at] = byte;
            let _ = try_read(&ReadOptions::new(Format::Parquet), &file);
        }
    }
}
