//! Sets of rows by number.

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;

/// A set of rows by number: one bit a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
}

impl RowSet {
    /// Adds a row.
    pub fn insert(&mut self, row: u64) {
        let word = to_usize(row / 64);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (row % 64);
    }

    /// Adds the rows of `others`.
    pub fn add_all(&mut self, others: &Self) {
        if self.words.len() < others.words.len() {
            self.words.resize(others.words.len(), 0);
        }
        self.words.iter_mut().zip(&others.words).for_each(|(word, other)| *word |= other);
    }

    /// Takes the rows of `others` out.
    pub fn remove_all(&mut self, others: &Self) {
        self.words.iter_mut().zip(&others.words).for_each(|(word, other)| *word &= !other);
    }

    /// Whether `row` is in the set.
    pub fn holds(&self, row: u64) -> bool {
        self.words.get(to_usize(row / 64)).is_some_and(|w| w >> (row % 64) & 1 == 1)
    }

    /// How many rows are in the set.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|w| u64::from(w.count_ones())).sum()
    }

    /// Whether no row is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    /// The rows of the set, upwards.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let bits = std::iter::successors(Some(*word), |w| Some(w & (w.wrapping_sub(1)))).take_while(|w| *w != 0);
            bits.map(move |w| at as u64 * 64 + u64::from(w.trailing_zeros()))
        })
    }

    /// Those of `count` rows that are not in the set.
    pub fn others(&self, count: u64) -> Self {
        let word = |at: usize| !self.words.get(at).copied().unwrap_or_default();
        let mut words: Vec<u64> = (0..to_usize(count.div_ceil(64))).map(word).collect();
        if let Some(last) = words.last_mut().filter(|_| !count.is_multiple_of(64)) {
            *last &= (1 << (count % 64)) - 1;
        }
        Self { words }
    }

    /// For each of `count` rows from `first` on, whether it is in the set.
    pub fn mask(&self, first: u64, count: usize) -> BooleanArray {
        BooleanArray::from(BooleanBuffer::collect_bool(count, |i| self.holds(first + i as u64)))
    }

    /// The places of rows among those of the set.
    pub(crate) fn ranks(&self) -> Ranks<'_> {
        let mut sum = 0;
        let mut next = |word: &u64| {
            sum += word.count_ones();
            sum - word.count_ones()
        };
        let before = self.words.iter().map(&mut next).collect();
        Ranks { rows: self, before }
    }
}

/// Answers how many rows of a set come before one of them.
pub(crate) struct Ranks<'a> {
    rows: &'a RowSet,
    before: Vec<u32>,
}

impl Ranks<'_> {
    /// The place of `row` among the rows of the set, from 0; `None` when it is not in it.
    pub(crate) fn of(&self, row: u64) -> Option<u32> {
        let word = to_usize(row / 64);
        let bits = *self.rows.words.get(word)?;
        let below = (1u64 << (row % 64)) - 1;
        (bits >> (row % 64) & 1 == 1).then(|| self.before[word] + (bits & below).count_ones())
    }
}

fn to_usize(row: u64) -> usize {
    usize::try_from(row).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rows: &[u64]) -> RowSet {
        let mut set = RowSet::default();
        rows.iter().for_each(|r| set.insert(*r));
        set
    }

    #[test]
    fn a_set_of_rows_and_the_others_part_all_rows() {
        let set = set(&[0, 63, 64, 69]);
        let others = set.others(70);
        assert_eq!((set.count(), others.count()), (4, 66));
        assert!((0..70).all(|r| set.holds(r) != others.holds(r)));
        assert!(!others.holds(70));
        let mut all = RowSet::default();
        all.add_all(&set);
        all.add_all(&others);
        assert_eq!(all, RowSet::default().others(70));
        assert_eq!(RowSet::default().others(3).iter().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn rows_come_upwards_and_know_their_place() {
        let rows = [3, 63, 64, 130, 191];
        let set = set(&rows);
        assert_eq!(set.iter().collect::<Vec<_>>(), rows);
        let ranks = set.ranks();
        assert_eq!(rows.map(|r| ranks.of(r)), [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        assert_eq!((ranks.of(4), ranks.of(1000)), (None, None));
        assert_eq!(set.mask(60, 6).iter().map(|b| b == Some(true)).collect::<Vec<_>>(), [false, false, false, true, true, false]);
    }
}
