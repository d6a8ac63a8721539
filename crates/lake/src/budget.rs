//! Who gets which share of the memory that the process may use.

use std::num::NonZeroUsize;

use crate::forecast::Quantity;

/// The least budget, in bytes, that holds: below it what no pool counts (the program, batches on their way) outweighs what can be limited.
pub(crate) const LEAST_MEMORY: u64 = 512 << 20;

/// The memory for each thread of a query, in bytes.
const THREAD: u64 = 256 << 20;

/// The memory that the program needs before it works on a row: its code, the pipeline, the allocator's spare pages.
const PROGRAM: u64 = 128 << 20;

/// What a stored byte of input takes at most as a rule while its rows are decoded, set aside and encoded. Packed text can take more.
const UNPACKED: u64 = 16;

/// What any job takes for its tasks and their batches, however small its input is.
const SMALL_JOB: u64 = 64 << 20;

/// Bytes of a part of a file on its way to the store.
const UPLOADED_PART: usize = 8 << 20;

/// The most files that a writer has open, which is also the most workspaces whose rows it encodes at a time.
const OPEN_FILES: u64 = 256;

/// Batches of a source in a row: read, waiting, and being written.
const SOURCE_BATCHES: usize = 6;

/// The memory that the process may use, and the parts of it. Without a limit every part has a fixed size that serves speed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget(Option<u64>);

impl Budget {
    /// A budget of `bytes`; `None` for no limit.
    pub fn new(bytes: Option<u64>) -> Self {
        Self(bytes)
    }

    /// Whether there is no limit.
    pub fn is_unlimited(self) -> bool {
        self.0.is_none()
    }

    /// What the operators of queries share (sorts, joins, aggregates); they spill beyond it. `None` for no limit. It is less than a half, since operators
    /// take up to twice of what they count.
    pub fn pool(self) -> Option<usize> {
        self.0.map(|bytes| to_usize(bytes.saturating_sub(PROGRAM) * 2 / 5))
    }

    /// The threads of one query, of `wanted`: each of them has buffers of its own. Under a limit there are two at least, since with one the library
    /// plans hash joins only, which do not spill.
    pub fn threads(self, wanted: usize) -> usize {
        match self.0 {
            None => wanted.max(1),
            Some(bytes) => wanted.clamp(2, to_usize(bytes / THREAD).max(2)),
        }
    }

    /// Rows of a batch within a query. A sort merges what it spilled from a few batches of every run, so that small ones save passes.
    pub fn batch_rows(self) -> usize {
        self.part(1 << 18, 1024, 8192)
    }

    /// What a sort keeps back to merge what it spilled.
    pub fn sort_reserve(self) -> usize {
        self.part(64, 1 << 20, 10 << 20)
    }

    /// Rows that wait in a table's writer until those of one workspace come together.
    pub fn staged(self) -> usize {
        self.part(32, 1 << 20, 32 << 20)
    }

    /// Row groups being encoded by a table's writer, of all its open files.
    pub fn encoding(self) -> usize {
        self.part(16, 4 << 20, 128 << 20)
    }

    /// The most encoded bytes of a row group: whoever reads the file later holds one for each thread.
    pub fn row_group(self) -> usize {
        self.part(64, 1 << 20, 32 << 20)
    }

    /// Encoded bytes of one open file of a table that stay in memory; the rest waits in a temporary file.
    pub fn encoded(self) -> usize {
        self.part(1024, 64 << 10, 4 << 20)
    }

    /// The size at which a file of a table is finished.
    pub fn file(self) -> u64 {
        self.part(8, 8 << 20, 128 << 20) as u64
    }

    /// Parts of files on their way to the store at a time.
    pub fn uploads(self) -> usize {
        self.part(64 << 20, 2, 8)
    }

    /// Rows set aside in memory between two passes of a job, before they go to disk.
    pub fn set_aside(self) -> usize {
        self.part(32, 4 << 20, 64 << 20)
    }

    /// Hashes of the keys of rows to merge, before they go to disk.
    pub fn key_hashes(self) -> usize {
        self.part(8, 32 << 20, 256 << 20)
    }

    /// What is compared of the winners of a merge, which are looked up in pieces of this size. No operator of a query works at that time.
    pub fn looked_up(self) -> usize {
        self.part(4, 64 << 20, 512 << 20)
    }

    /// Rows of a table and winners of equal sequence, whose other columns are compared together.
    pub fn ties(self) -> usize {
        self.part(2048, 1 << 16, 1 << 20)
    }

    /// Bytes of records in a batch that is read from a source; several wait in a row.
    pub fn source_batch(self) -> usize {
        self.part(128, 1 << 20, 8 << 20)
    }

    /// The peak of the process while a job takes rows in from sources of `input` bytes, of at most `workspaces`, and hands them to `readers` tables.
    pub fn peak_of_intake(self, input: Option<u64>, workspaces: Option<u64>, readers: usize) -> Quantity {
        let handed_over = 2 * self.set_aside() + self.key_hashes();
        self.peak(input, 2 * self.writer(workspaces) + SOURCE_BATCHES * self.source_batch() + readers * handed_over)
    }

    /// The peak of the process while a job merges `input` bytes of rows, of at most `workspaces`, on `threads`.
    pub fn peak_of_merge(self, input: Option<u64>, workspaces: Option<u64>, threads: usize) -> Quantity {
        let rows = 3 * self.set_aside() + self.key_hashes() + self.looked_up() + self.ties();
        self.peak(input, 3 * self.writer(workspaces) + rows + threads * self.row_group())
    }

    /// The peak of the process while queries work: their operators share what is limited, and nothing bounds them else.
    pub fn peak_of_queries(self) -> Option<Quantity> {
        self.promise().map(Quantity::AtMost)
    }

    /// What a limit promises. Without one, about the sum of `parts`, of which a small input fills little.
    fn peak(self, input: Option<u64>, parts: usize) -> Quantity {
        let filled = input.map_or(u64::MAX, |bytes| bytes.saturating_mul(UNPACKED)).min(parts as u64);
        self.promise().map_or(Quantity::Estimate(PROGRAM + SMALL_JOB + filled), Quantity::AtMost)
    }

    /// The peak that a limit stands for.
    fn promise(self) -> Option<u64> {
        self.0.map(|bytes| bytes.saturating_add(bytes / 2))
    }

    /// A table's writer: rows that wait, row groups, encoded bytes of open files, and parts on their way.
    fn writer(self, workspaces: Option<u64>) -> usize {
        let open = to_usize(workspaces.map_or(OPEN_FILES, |open| open.min(OPEN_FILES)));
        self.staged() + self.encoding() + open * self.encoded() + self.uploads() * UPLOADED_PART
    }

    /// One part in `parts` of the budget, not below `least` nor above `most`; `most` without a limit.
    fn part(self, parts: u64, least: usize, most: usize) -> usize {
        self.0.map_or(most, |bytes| to_usize(bytes / parts).clamp(least, most))
    }
}

/// As many threads as the machine has cores.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_budget_leave_room_for_the_program() {
        for bytes in [LEAST_MEMORY, 1 << 30, 4 << 30] {
            let budget = Budget::new(Some(bytes));
            // A silver job has three writers open: the table's, its quarantine's, and its tombstones'.
            let writers = 3 * (budget.staged() + budget.encoding()) + budget.uploads() * (8 << 20);
            let parts = budget.pool().unwrap() + writers + 2 * budget.set_aside() + 8 * budget.source_batch();
            assert!(parts as u64 + PROGRAM <= bytes * 3 / 2, "{parts} of {bytes}");
        }
    }

    #[test]
    fn without_a_limit_the_parts_serve_speed() {
        let budget = Budget::default();
        assert_eq!((budget.pool(), budget.batch_rows(), budget.threads(16)), (None, 8192, 16));
        assert_eq!(Budget::new(Some(512 << 20)).threads(16), 2);
        assert_eq!(Budget::new(Some(1 << 30)).threads(16), 4);
        assert_eq!(Budget::new(Some(1 << 30)).threads(1), 2);
    }
    #[test]
    fn the_peak_is_promised_under_a_limit_and_estimated_without() {
        let limited = Budget::new(Some(1 << 30));
        let promise = Quantity::AtMost(3 << 29);
        assert_eq!(limited.peak_of_intake(Some(1), Some(1), 0), promise);
        assert_eq!((limited.peak_of_merge(None, None, 8), limited.peak_of_queries()), (promise, Some(promise)));

        let free = Budget::default();
        assert_eq!(free.peak_of_queries(), None);
        assert_eq!(free.peak_of_intake(Some(1000), Some(1), 1), Quantity::Estimate(PROGRAM + SMALL_JOB + 16_000));
        let all = free.peak_of_merge(None, None, 4);
        assert_eq!(free.peak_of_merge(Some(u64::MAX), None, 4), all);
        assert!(free.peak_of_merge(None, Some(3), 4).value() < all.value());
    }
}
