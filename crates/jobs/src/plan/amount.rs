//! Files, bytes and rows: as the log has them, and as they are foretold.

use lake::forecast::Quantity;
use lake::table::DataFile;

/// Some files. Rows are unknown where the log does not tell those of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) rows: Option<u64>,
}

impl Default for Volume {
    fn default() -> Self {
        Self { files: 0, bytes: 0, rows: Some(0) }
    }
}

impl<'f> FromIterator<&'f DataFile> for Volume {
    fn from_iter<I: IntoIterator<Item = &'f DataFile>>(files: I) -> Self {
        files.into_iter().fold(Self::default(), |all, file| all.plus(Self { files: 1, bytes: file.size, rows: file.rows }))
    }
}

impl Volume {
    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        let rows = self.rows.zip(other.rows).map(|(a, b)| a + b);
        Self { files: self.files + other.files, bytes: self.bytes + other.bytes, rows }
    }
}

/// A volume as it is foretold; `None` is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) files: Option<Quantity>,
    pub(crate) bytes: Option<Quantity>,
    pub(crate) rows: Option<Quantity>,
}

impl From<Volume> for Amount {
    fn from(volume: Volume) -> Self {
        let exact = |n| Some(Quantity::Exact(n));
        Self { files: exact(volume.files), bytes: exact(volume.bytes), rows: volume.rows.map(Quantity::Exact) }
    }
}

impl Amount {
    pub(crate) const UNKNOWN: Self = Self { files: None, bytes: None, rows: None };
    pub(crate) const NONE: Self =
        Self { files: Some(Quantity::Exact(0)), bytes: Some(Quantity::Exact(0)), rows: Some(Quantity::Exact(0)) };

    /// Both together; unknown where one of them is.
    pub(crate) fn plus(self, other: Self) -> Self {
        let sum = |a: Option<Quantity>, b| a.zip(b).map(|(a, b)| a + b);
        Self { files: sum(self.files, other.files), bytes: sum(self.bytes, other.bytes), rows: sum(self.rows, other.rows) }
    }

    pub(crate) fn at_most(self) -> Self {
        self.map(Quantity::at_most)
    }

    pub(crate) fn estimate(self) -> Self {
        self.map(Quantity::estimate)
    }

    fn map(self, change: fn(Quantity) -> Quantity) -> Self {
        Self { files: self.files.map(change), bytes: self.bytes.map(change), rows: self.rows.map(change) }
    }
}

/// About `part` of `of` for each one of `whole`, rounded up so that something does not become nothing; unknown for a whole that is nothing.
pub(crate) fn scaled(part: u64, of: u64, whole: u64) -> Option<u64> {
    let whole = (whole > 0).then_some(u128::from(whole))?;
    let scaled = (u128::from(part) * u128::from(of)).div_ceil(whole);
    Some(u64::try_from(scaled).unwrap_or(u64::MAX))
}

/// About the files that a writer makes of `bytes`: one for each workspace, or as many as their greatest size asks for.
pub(crate) fn files_for(bytes: u64, workspaces: u64, greatest: u64) -> u64 {
    workspaces.max(bytes.div_ceil(greatest.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64, rows: Option<u64>) -> DataFile {
        DataFile { path: "a".into(), size, rows, workspace: None, stats: None, deleted: None }
    }

    #[test]
    fn rows_are_unknown_where_one_file_does_not_tell() {
        let told = file(10, Some(3));
        assert_eq!([&told, &told].into_iter().collect::<Volume>(), Volume { files: 2, bytes: 20, rows: Some(6) });
        assert_eq!([&told, &file(5, None)].into_iter().collect::<Volume>(), Volume { files: 2, bytes: 15, rows: None });
        assert_eq!([].into_iter().collect::<Volume>(), Volume::default());
    }

    #[test]
    fn amounts_add_up_as_far_as_both_are_known() {
        let some = Amount::from(Volume { files: 2, bytes: 20, rows: None });
        let sum = some.plus(Amount::NONE).at_most();
        assert_eq!((sum.files, sum.bytes, sum.rows), (Some(Quantity::AtMost(2)), Some(Quantity::AtMost(20)), None));
        assert_eq!(some.plus(Amount::UNKNOWN), Amount::UNKNOWN);
        assert_eq!(some.plus(some.estimate()).files, Some(Quantity::Estimate(4)));
    }

    #[test]
    fn what_is_scaled_by_nothing_is_unknown() {
        assert_eq!(
            [scaled(10, 3, 2), scaled(1, 3, 100), scaled(10, 3, 0), scaled(u64::MAX, 4, 2)],
            [Some(15), Some(1), None, Some(u64::MAX)]
        );
        assert_eq!((files_for(0, 1, 8), files_for(17, 1, 8), files_for(17, 5, 8)), (1, 3, 5));
    }
}
