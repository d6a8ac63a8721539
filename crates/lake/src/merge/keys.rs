//! Hashes of the keys of rows: they tell which rows share their key with no other, and find the rows of a key.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;

use arrow::array::ArrayRef;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::row_set::RowSet;

/// Parts that can be looked at one after the other, by the upper bits of a hash.
pub(super) const PARTS: usize = 256;

/// Bits of a hash that are kept, its upper ones.
const KEPT_BITS: u32 = 40;

/// Bits of the table that answers most questions for keys that no row has, for each row.
const FILTER_BITS: usize = 16;

/// How keys are hashed. Each job has a seed of its own, so that nobody can choose keys of equal hashes.
#[derive(Debug, Clone)]
pub(super) struct KeyHasher {
    state: QualityRandomState,
    /// Bits of a hash that count; fewer than all in tests.
    pub(super) bits: u64,
}

impl KeyHasher {
    pub(super) fn new() -> Self {
        Self { state: QualityRandomState::with_seed(rand::random()), bits: u64::MAX }
    }

    /// The hash of each row of `columns`, into `hashes`.
    pub(super) fn hash(&self, columns: &[ArrayRef], hashes: &mut Vec<u64>) -> Result<()> {
        hashes.clear();
        hashes.resize(columns.first().map_or(0, |c| c.len()), 0);
        create_hashes(columns, &self.state, hashes.as_mut_slice())
            .map_err(|e| Error::new(ErrorKind::Internal, "cannot hash the keys of rows").with_source(e))?;
        if self.bits != u64::MAX {
            hashes.iter_mut().for_each(|h| *h &= self.bits);
        }
        Ok(())
    }
}

/// A hash of each row of `columns`.
pub(crate) fn hashes_of(columns: &[ArrayRef]) -> Result<Vec<u64>> {
    let mut hashes = vec![];
    KeyHasher::new().hash(columns, &mut hashes).map(|()| hashes)
}

/// The part of a hash, and what is kept of it.
fn split(hash: u64) -> (usize, u64) {
    ((hash >> 56) as usize, (hash >> 24) & 0xffff_ffff)
}

/// Takes the hash of each row: eight bytes a row, in memory up to a share of the budget and then on disk.
pub(super) struct KeyWriter {
    /// For each part, 32 bits of hash and 32 bits of row number.
    parts: Vec<Vec<u64>>,
    held: usize,
    /// The most bytes in memory.
    pub(super) limit: usize,
    folder: PathBuf,
    disk: Option<Overflow>,
    rows: u64,
}

impl KeyWriter {
    pub(super) fn new(engine: &Engine) -> Self {
        Self {
            parts: vec![vec![]; PARTS],
            held: 0,
            limit: engine.budget().key_hashes(),
            folder: engine.spill_folder(),
            disk: None,
            rows: 0,
        }
    }

    /// Adds rows, numbered on from those before.
    pub(super) fn push(&mut self, hashes: &[u64]) -> Result<()> {
        for hash in hashes {
            let row = u32::try_from(self.rows).map_err(|_| too_many())?;
            let (part, rest) = split(*hash);
            self.parts[part].push(rest << 32 | u64::from(row));
            self.rows += 1;
        }
        self.held += size_of_val(hashes);
        if self.held > self.limit { self.move_to_disk() } else { Ok(()) }
    }

    fn move_to_disk(&mut self) -> Result<()> {
        let disk = match &mut self.disk {
            Some(disk) => disk,
            None => self.disk.insert(Overflow::new(&self.folder)?),
        };
        disk.push(&mut self.parts)?;
        self.held = 0;
        Ok(())
    }

    /// The rows of which the hash is not unique, which have to be looked at, and all hashes.
    pub(super) fn close(mut self) -> Result<(RowSet, SortedKeys)> {
        if self.disk.is_some() {
            self.move_to_disk()?;
        }
        let mut doubtful = RowSet::default();
        let mut keys = SortedKeys { parts: self.parts, disk: self.disk };
        for number in 0..PARTS {
            let part = keys.sorted(number)?;
            for pair in part.windows(2).filter(|pair| pair[0] >> 32 == pair[1] >> 32) {
                pair.iter().for_each(|entry| doubtful.insert(entry & 0xffff_ffff));
            }
            if keys.disk.is_none() {
                keys.parts[number] = part;
            }
        }
        Ok((doubtful, keys))
    }
}

fn too_many() -> Error {
    Error::new(ErrorKind::Config, "one run cannot merge more than 4,294,967,295 rows into a table")
        .with_hint("bring the files in by several runs")
}

/// Hashes on disk: each time memory was full, one stretch of every part.
struct Overflow {
    file: File,
    end: u64,
    /// For each part, where its stretches begin and how many hashes they hold.
    stretches: Vec<Vec<(u64, usize)>>,
}

impl Overflow {
    fn new(folder: &std::path::Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(disk)?;
        Ok(Self { file, end: 0, stretches: vec![vec![]; PARTS] })
    }

    fn push(&mut self, parts: &mut [Vec<u64>]) -> Result<()> {
        for (part, stretches) in parts.iter_mut().zip(&mut self.stretches) {
            let bytes: Vec<u8> = part.iter().flat_map(|entry| entry.to_le_bytes()).collect();
            self.file.write_all(&bytes).map_err(disk)?;
            stretches.push((self.end, part.len()));
            self.end += bytes.len() as u64;
            part.clear();
        }
        Ok(())
    }

    /// Adds what is on disk of a part to `entries`.
    fn read(&mut self, part: usize, entries: &mut Vec<u64>) -> Result<()> {
        for (start, count) in &self.stretches[part] {
            let mut bytes = vec![0; count * size_of::<u64>()];
            self.file.seek(SeekFrom::Start(*start)).map_err(disk)?;
            self.file.read_exact(&mut bytes).map_err(disk)?;
            entries.extend(bytes.as_chunks().0.iter().map(|chunk| u64::from_le_bytes(*chunk)));
        }
        Ok(())
    }
}

fn disk(source: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, "the keys of rows cannot be kept in the folder for temporary files")
        .with_hint("see that it has room and may be written to; `TMPDIR` names another one")
        .with_source(source)
}

/// Rows by the hash of their key, on disk when they are many.
pub(super) struct SortedKeys {
    /// For each part, hash and row number, as far as they are in memory.
    parts: Vec<Vec<u64>>,
    disk: Option<Overflow>,
}

impl SortedKeys {
    /// Bytes that an index of one row takes beyond what is held already.
    pub(super) fn bytes_to_index_a_row(&self) -> usize {
        let entry = if self.disk.is_some() { size_of::<u64>() } else { 0 };
        entry + FILTER_BITS / 8
    }

    /// Hashes and row numbers of a part upwards; what is in memory of it is taken out.
    fn sorted(&mut self, part: usize) -> Result<Vec<u64>> {
        let mut entries = std::mem::take(&mut self.parts[part]);
        if let Some(disk) = &mut self.disk {
            disk.read(part, &mut entries)?;
        }
        entries.sort_unstable();
        Ok(entries)
    }

    /// An index of those of the rows that are in `keep` and in one of `parts`. Each part can be asked for once.
    pub(super) fn index(&mut self, parts: Range<usize>, keep: &RowSet) -> Result<KeyIndex> {
        let first = parts.start;
        let mut kept = Vec::with_capacity(parts.len());
        for part in parts {
            let mut entries = self.sorted(part)?;
            entries.retain(|entry| keep.holds(entry & 0xffff_ffff));
            kept.push(entries);
        }
        let filter = Filter::new(first, &kept);
        Ok(KeyIndex { first, parts: kept, filter })
    }
}

/// Finds the rows that may have a key, of the keys in some parts.
pub(super) struct KeyIndex {
    /// The first of the parts.
    first: usize,
    parts: Vec<Vec<u64>>,
    filter: Filter,
}

impl KeyIndex {
    /// All rows of the index.
    pub(super) fn row_set(&self) -> RowSet {
        let mut rows = RowSet::default();
        self.parts.iter().flatten().for_each(|entry| rows.insert(entry & 0xffff_ffff));
        rows
    }

    /// The numbers of rows whose hash is that of the key, as far as it is kept.
    pub(super) fn rows(&self, hash: u64) -> impl Iterator<Item = u64> + '_ {
        let (part, rest) = split(hash);
        let part = part.checked_sub(self.first).and_then(|part| self.parts.get(part));
        let found: &[u64] = part.filter(|_| self.filter.may_hold(hash)).map_or(&[], Vec::as_slice);
        let first = found.partition_point(|entry| entry >> 32 < rest);
        found[first..].iter().take_while(move |entry| *entry >> 32 == rest).map(|entry| entry & 0xffff_ffff)
    }
}

/// One bit for each of many values of the hash: most keys that no row has are known by it at once.
struct Filter {
    words: Vec<u64>,
    /// The least hash.
    first: u64,
    /// How far a hash is moved to be a place.
    shift: u32,
}

impl Filter {
    fn new(first: usize, parts: &[Vec<u64>]) -> Self {
        let rows: usize = parts.iter().map(Vec::len).sum();
        let span = u64::BITS - PARTS.ilog2() + parts.len().next_power_of_two().ilog2();
        let most = (span + KEPT_BITS - u64::BITS).min(30);
        let bits = (rows * FILTER_BITS).next_power_of_two().ilog2().clamp(6, most);
        let mut filter = Self { words: vec![0; (1 << bits) / 64], first: (first as u64) << 56, shift: span - bits };
        for (part, entries) in parts.iter().enumerate() {
            for entry in entries {
                let place = filter.place(((first + part) as u64) << 56 | (entry >> 32) << 24);
                filter.words[place / 64] |= 1 << (place % 64);
            }
        }
        filter
    }

    fn place(&self, hash: u64) -> usize {
        ((hash - self.first) >> self.shift) as usize
    }

    fn may_hold(&self, hash: u64) -> bool {
        let place = self.place(hash);
        self.words[place / 64] >> (place % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;
    use crate::engine::EngineOptions;

    fn writer(limit: usize) -> KeyWriter {
        KeyWriter { limit, ..KeyWriter::new(&Engine::new(EngineOptions::default()).unwrap()) }
    }

    fn hashes(keys: &[i64]) -> Vec<u64> {
        let texts = StringArray::from_iter_values(keys.iter().map(|k| format!("ws {}", k % 3)));
        let columns: [ArrayRef; 2] = [Arc::new(texts), Arc::new(Int64Array::from(keys.to_vec()))];
        let hasher = KeyHasher { state: QualityRandomState::with_seed(7), bits: u64::MAX };
        let mut hashes = vec![];
        hasher.hash(&columns, &mut hashes).unwrap();
        hashes
    }

    #[test]
    fn rows_of_a_key_that_comes_twice_are_doubtful_in_memory_and_on_disk() {
        let mut keys: Vec<i64> = (0..5_000).collect();
        keys.extend([17, 4_999, 17]);
        for limit in [usize::MAX, 4_096] {
            let mut writer = writer(limit);
            hashes(&keys).chunks(100).for_each(|chunk| writer.push(chunk).unwrap());
            let (doubtful, sorted) = writer.close().unwrap();
            assert_eq!(doubtful.iter().collect::<Vec<_>>(), [17, 4_999, 5_000, 5_001, 5_002]);
            assert_eq!(sorted.disk.is_none(), limit == usize::MAX);
        }
    }

    #[test]
    fn an_index_finds_the_rows_of_a_key_and_only_those_that_are_kept() {
        let keys: Vec<i64> = (0..3_000).collect();
        let all = hashes(&keys);
        let mut keep = RowSet::default().others(2_000);
        let mut lost = RowSet::default();
        lost.insert(5);
        keep.remove_all(&lost);
        for (limit, step) in [(usize::MAX, PARTS), (usize::MAX, 100), (4_096, PARTS), (4_096, 1)] {
            let mut writer = writer(limit);
            all[..2_000].chunks(100).for_each(|chunk| writer.push(chunk).unwrap());
            let mut keys = writer.close().unwrap().1;
            let pieces: Vec<KeyIndex> =
                (0..PARTS).step_by(step).map(|first| keys.index(first..(first + step).min(PARTS), &keep).unwrap()).collect();
            let found = |row: usize| pieces.iter().flat_map(|piece| piece.rows(all[row])).collect::<Vec<_>>();
            assert!((0..2_000).filter(|r| *r != 5).all(|r| found(r) == [r as u64]));
            assert!(found(5).is_empty());
            assert!((2_000..3_000).all(|r| found(r).is_empty()));
            assert_eq!(pieces.iter().map(|piece| piece.row_set().count()).sum::<u64>(), 1_999);
        }
    }
}
