//! The order of two rows of a key as SQL, for rows that meet in a join.

use crate::merge::{DELETE_COLUMN, MergeSpec, Sequence};

/// `name` as an SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The condition that `left` and `right` are rows of one key.
pub(super) fn same_key(spec: &MergeSpec, left: &str, right: &str) -> String {
    let equal = spec.group().into_iter().map(|c| format!("{left}.{c} = {right}.{c}", c = quoted(c)));
    equal.collect::<Vec<_>>().join(" AND ")
}

/// The condition that candidate `new` wins over `old`, a row of the table. It is never null.
pub(super) fn wins(spec: &MergeSpec, new: &str, old: &str) -> String {
    if spec.sequence == Sequence::Arrival {
        return "true".to_string();
    }
    let mut cases = greater(spec.order_column(), new, old);
    cases.push_str(&format!(" WHEN {new}.{} THEN true", quoted(DELETE_COLUMN)));
    for column in spec.tie_columns() {
        cases.push_str(&greater(column, new, old));
    }
    format!("CASE{cases} ELSE false END")
}

/// The cases in which `column` decides; null is lowest.
fn greater(column: &str, new: &str, old: &str) -> String {
    let (n, o) = (format!("{new}.{}", quoted(column)), format!("{old}.{}", quoted(column)));
    format!(
        " WHEN {n} > {o} THEN true WHEN {n} < {o} THEN false WHEN {n} IS NOT NULL AND {o} IS NULL THEN true WHEN {n} IS NULL AND {o} IS NOT NULL THEN false"
    )
}
