//! Files elsewhere of which any part can be asked for, and the local copy that a Parquet reader works on.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lake::{Error, ErrorKind, Result};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// What is fetched at least, in bytes.
const BLOCK: u64 = 1 << 20;

/// Blocks that are fetched together when pages are read, which come one after the other.
const AHEAD: u64 = 8;

/// A file elsewhere. Its methods block, so they are not for a thread of the asynchronous runtime.
pub trait RangedFile: Send + Sync {
    /// Bytes.
    fn size(&self) -> u64;

    /// The bytes of `range`, all of them; it lies within the file.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when they cannot be had or the file is another one by now.
    fn read(&self, range: Range<u64>) -> Result<Bytes>;

    /// The bytes from front to back, fetched a bounded way ahead. An error of reading holds this crate's error.
    fn stream(&self) -> Box<dyn Read + Send>;
}

/// A file elsewhere that is copied to a temporary file as its parts are asked for, each part once.
#[derive(Clone)]
pub(super) struct Mirror(Arc<Inner>);

struct Inner {
    remote: Box<dyn RangedFile>,
    copy: Mutex<Copied>,
    trouble: Trouble,
}

struct Copied {
    file: File,
    blocks: Vec<bool>,
}

/// The error of ours behind one that the Parquet library has turned into words.
#[derive(Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Error>>>);

impl Trouble {
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep(&self, error: Error) -> ParquetError {
        let words = ParquetError::General(error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        words
    }
}

impl Mirror {
    pub(super) fn new(remote: Box<dyn RangedFile>) -> Result<Self> {
        let file = tempfile::tempfile().map_err(not_copied)?;
        let blocks = vec![false; usize::try_from(remote.size().div_ceil(BLOCK)).unwrap_or_default()];
        Ok(Self(Arc::new(Inner { remote, copy: Mutex::new(Copied { file, blocks }), trouble: Trouble::default() })))
    }

    pub(super) fn trouble(&self) -> Trouble {
        self.0.trouble.clone()
    }

    /// Fills `buffer` from `start` on, as far as the file goes; fetches what is missing and, where something is, up to `ahead` blocks.
    fn read(&self, start: u64, buffer: &mut [u8], ahead: u64) -> Result<usize> {
        let size = self.0.remote.size();
        let wanted = (buffer.len() as u64).min(size.saturating_sub(start));
        let mut copied = self.0.copy.lock().unwrap_or_else(PoisonError::into_inner);
        self.fetch(&mut copied, start / BLOCK..(start + wanted).div_ceil(BLOCK), ahead)?;
        let wanted = &mut buffer[..usize::try_from(wanted).unwrap_or_default()];
        copied.file.seek(SeekFrom::Start(start)).map_err(not_copied)?;
        copied.file.read_exact(wanted).map_err(not_copied)?;
        Ok(wanted.len())
    }

    fn fetch(&self, copied: &mut Copied, wanted: Range<u64>, ahead: u64) -> Result<()> {
        let size = self.0.remote.size();
        let missing = |copied: &Copied, block: u64| usize::try_from(block).is_ok_and(|b| copied.blocks.get(b) == Some(&false));
        let mut block = wanted.start;
        while block < wanted.end {
            if !missing(copied, block) {
                block += 1;
                continue;
            }
            let last = wanted.end.max(block + ahead).min(block + AHEAD);
            let end = (block + 1..last).find(|b| !missing(copied, *b)).unwrap_or(last);
            let bytes = self.0.remote.read(block * BLOCK..(end * BLOCK).min(size))?;
            copied.file.seek(SeekFrom::Start(block * BLOCK)).map_err(not_copied)?;
            copied.file.write_all(&bytes).map_err(not_copied)?;
            for done in block..end {
                if let Some(block) = usize::try_from(done).ok().and_then(|b| copied.blocks.get_mut(b)) {
                    *block = true;
                }
            }
            block = end;
        }
        Ok(())
    }
}

impl Length for Mirror {
    fn len(&self) -> u64 {
        self.0.remote.size()
    }
}

impl ChunkReader for Mirror {
    type T = MirrorReader;

    fn get_read(&self, start: u64) -> std::result::Result<MirrorReader, ParquetError> {
        Ok(MirrorReader { mirror: self.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> std::result::Result<Bytes, ParquetError> {
        // A length that the file cannot have comes from a damaged footer.
        if start.saturating_add(length as u64) > self.len() {
            return Err(ParquetError::EOF(format!("{length} bytes after byte {start} are beyond the end of the file")));
        }
        let mut buffer = vec![0; length];
        self.read(start, &mut buffer, 0).map_err(|e| self.0.trouble.keep(e))?;
        Ok(buffer.into())
    }
}

/// Reads the headers of pages, and with them a way ahead.
pub(super) struct MirrorReader {
    mirror: Mirror,
    at: u64,
}

impl Read for MirrorReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let fail = |e| std::io::Error::other(self.mirror.0.trouble.keep(e));
        let read = self.mirror.read(self.at, buffer, AHEAD).map_err(fail)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn not_copied(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("a source file cannot be copied to a temporary file: {error}"))
        .with_hint("see that the folder for temporary files (`TMPDIR`) has room for it")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::super::{Format, Input, ReadOptions, open, peek};
    use super::*;

    /// What was asked for.
    type Asked = Arc<Mutex<Vec<Range<u64>>>>;

    /// Bytes that are counted as they are asked for, and that can break off.
    struct Remote {
        bytes: Bytes,
        asked: Asked,
        broken: Arc<AtomicBool>,
    }

    impl RangedFile for Remote {
        fn size(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn read(&self, range: Range<u64>) -> Result<Bytes> {
            if self.broken.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Storage, "the line is cut").with_hint("mend it"));
            }
            self.asked.lock().unwrap().push(range.clone());
            Ok(self.bytes.slice(range.start as usize..range.end as usize))
        }

        fn stream(&self) -> Box<dyn Read + Send> {
            Box::new(std::io::Cursor::new(self.bytes.clone()))
        }
    }

    fn parquet(rows: i64) -> Bytes {
        let schema: Arc<Schema> =
            Schema::new(vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Int64, false)]).into();
        let numbers = |by: i64| Arc::new(Int64Array::from_iter_values((0..rows).map(|i| i.wrapping_mul(by))));
        let batch =
            RecordBatch::try_new(schema.clone(), vec![numbers(0x9e37_79b9_7f4a_7c15_u64 as i64), numbers(77_777_777_777)]);
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(200_000)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
        writer.write(&batch.unwrap()).unwrap();
        writer.into_inner().unwrap().into()
    }

    fn count(input: Input) -> Result<i64> {
        let mut reader = open(input, &ReadOptions::new(Format::Parquet), "f")?;
        let mut sum = 0i64;
        while let Some(batch) = reader.next_batch()? {
            let values = batch.batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
            sum = values.values().iter().fold(sum, |s, v| s.wrapping_add(*v));
        }
        Ok(sum)
    }

    fn remote(bytes: &Bytes) -> (Remote, Asked, Arc<AtomicBool>) {
        let (asked, broken) = (Asked::default(), Arc::<AtomicBool>::default());
        (Remote { bytes: bytes.clone(), asked: asked.clone(), broken: broken.clone() }, asked, broken)
    }

    #[test]
    fn a_parquet_file_is_fetched_once_in_large_parts_and_reads_as_from_disk() {
        let bytes = parquet(1_000_000);
        assert!(bytes.len() as u64 > 12 * BLOCK, "{}", bytes.len());
        let (file, asked, _) = remote(&bytes);
        assert_eq!(count(Input::Ranged(Box::new(file))).unwrap(), count(Input::Memory(bytes.clone())).unwrap());
        let mut asked = asked.lock().unwrap().clone();
        assert!(asked.iter().all(|r| r.end - r.start <= AHEAD * BLOCK));
        assert!(asked.len() <= bytes.len() / (2 << 20) + 4, "{asked:?}");
        asked.sort_by_key(|r| r.start);
        let ends: Vec<u64> = std::iter::once(0).chain(asked.iter().map(|r| r.end)).collect();
        assert!(asked.iter().zip(&ends).all(|(range, before)| range.start == *before), "{asked:?}");
        assert_eq!(ends.last(), Some(&(bytes.len() as u64)));
    }

    #[test]
    fn looking_at_the_columns_fetches_the_end_only() {
        let bytes = parquet(1_000_000);
        let (file, asked, _) = remote(&bytes);
        let (schema, complete) = peek(Input::Ranged(Box::new(file)), &ReadOptions::new(Format::Parquet), "f").unwrap();
        assert!(complete && schema.fields().len() == 2);
        assert!(asked.lock().unwrap().iter().all(|r| r.start >= bytes.len() as u64 - 2 * BLOCK), "{asked:?}");
    }

    #[test]
    fn a_line_that_is_cut_is_not_taken_for_a_damaged_file() {
        let bytes = parquet(1_000_000);
        let (file, _, broken) = remote(&bytes);
        let mut reader = open(Input::Ranged(Box::new(file)), &ReadOptions::new(Format::Parquet), "f").unwrap();
        reader.next_batch().unwrap();
        broken.store(true, Ordering::Relaxed);
        let error = std::iter::from_fn(|| reader.next_batch().transpose()).find_map(Result::err).unwrap();
        assert_eq!(
            (error.kind(), error.to_string().as_str(), error.hint()),
            (ErrorKind::Storage, "the line is cut", Some("mend it"))
        );
        let (file, _, broken) = remote(&bytes);
        broken.store(true, Ordering::Relaxed);
        assert_eq!(count(Input::Ranged(Box::new(file))).unwrap_err().to_string(), "the line is cut");
    }

    #[test]
    fn a_damaged_footer_asks_for_nothing_beyond_the_end() {
        let mut bytes = parquet(1000).to_vec();
        let length = bytes.len();
        bytes[length - 8..length - 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let (file, ..) = remote(&bytes.into());
        assert_eq!(count(Input::Ranged(Box::new(file))).unwrap_err().kind(), ErrorKind::Data);
    }
}
