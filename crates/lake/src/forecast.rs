//! What a job is expected to do to its table, told from the log before it runs.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

/// What a job would do to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make it.
    Build,
    /// Add rows.
    Append,
    /// Bring changed keys in.
    Merge,
    /// Make rows anew.
    Replace,
    /// Make those rows anew that the change touches.
    Refresh,
    /// Nothing.
    None,
}

/// A number told beforehand, and how far it can be relied on. In JSON `{"certainty": "exact", "value": 12}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "certainty", content = "value")]
pub enum Quantity {
    /// It will be this.
    Exact(u64),
    /// It will be this or less.
    AtMost(u64),
    /// It will be about this.
    Estimate(u64),
}

impl Quantity {
    /// The number alone.
    pub fn value(self) -> u64 {
        match self {
            Self::Exact(value) | Self::AtMost(value) | Self::Estimate(value) => value,
        }
    }

    /// Whether it is known to be none at all.
    pub fn is_none(self) -> bool {
        matches!(self, Self::Exact(0) | Self::AtMost(0))
    }

    /// As an upper bound; an estimate bounds nothing and stays one.
    #[must_use]
    pub fn at_most(self) -> Self {
        match self {
            Self::Exact(0) | Self::AtMost(0) => Self::Exact(0),
            Self::Exact(value) | Self::AtMost(value) => Self::AtMost(value),
            Self::Estimate(value) => Self::Estimate(value),
        }
    }

    /// As an estimate.
    #[must_use]
    pub fn estimate(self) -> Self {
        Self::Estimate(self.value())
    }
}

impl Add for Quantity {
    type Output = Self;

    /// The sum is as certain as the less certain of both.
    fn add(self, other: Self) -> Self {
        let sum = self.value().saturating_add(other.value());
        match (self, other) {
            (Self::Estimate(_), _) | (_, Self::Estimate(_)) => Self::Estimate(sum),
            (Self::AtMost(_), _) | (_, Self::AtMost(_)) => Self::AtMost(sum),
            (Self::Exact(_), Self::Exact(_)) => Self::Exact(sum),
        }
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::Exact(0), Self::add)
    }
}

/// What a job is expected to do to one table. `null` is unknown. What a run did stands in [`crate::report::TableReport`] under the same names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePlan {
    /// `layer.name`.
    pub table: String,
    /// What would be done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// Source files (bronze) or input files (silver, gold) to read.
    pub files_read: Option<Quantity>,
    /// Their bytes.
    pub bytes_read: Option<Quantity>,
    /// The rows in them.
    pub input_rows: Option<Quantity>,
    /// Files of the table that go, their rows being written anew or gone.
    pub files_rewritten: Option<Quantity>,
    /// Their bytes.
    pub bytes_rewritten: Option<Quantity>,
    /// The rows in them.
    pub rows_rewritten: Option<Quantity>,
    /// Files to write.
    pub files_written: Option<Quantity>,
    /// Their bytes.
    pub bytes_written: Option<Quantity>,
    /// Rows to write; those that only move from a file to another do not count.
    pub rows_written: Option<Quantity>,
    /// The most memory of the process while the job works; `null` where nothing limits it.
    pub peak_memory_bytes: Option<Quantity>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_as_certain_as_its_least_certain_part() {
        let (exact, most, about) = (Quantity::Exact(1), Quantity::AtMost(2), Quantity::Estimate(3));
        assert_eq!(exact + exact, Quantity::Exact(2));
        assert_eq!((exact + most, most + exact), (Quantity::AtMost(3), Quantity::AtMost(3)));
        assert_eq!([exact, most, about].into_iter().sum::<Quantity>(), Quantity::Estimate(6));
        assert_eq!([].into_iter().sum::<Quantity>(), Quantity::Exact(0));
    }

    #[test]
    fn none_at_most_is_exactly_none() {
        assert_eq!(Quantity::Exact(0).at_most(), Quantity::Exact(0));
        assert_eq!(Quantity::Exact(7).at_most(), Quantity::AtMost(7));
        assert_eq!(Quantity::Estimate(7).at_most(), Quantity::Estimate(7));
    }

    #[test]
    fn in_json_a_number_says_how_certain_it_is() {
        let json = serde_json::to_string(&[Some(Quantity::Exact(12)), Some(Quantity::AtMost(3)), None]).unwrap();
        assert_eq!(json, r#"[{"certainty":"exact","value":12},{"certainty":"at_most","value":3},null]"#);
        let back: Vec<Option<Quantity>> = serde_json::from_str(&json).unwrap();
        assert_eq!(back, [Some(Quantity::Exact(12)), Some(Quantity::AtMost(3)), None]);
    }
}
