//! What differs between a table and the store that mirrors it.

use std::cmp::Ordering;

use arrow::array::{AsArray, RecordBatch, StringArray};
use datafusion::prelude::DataFrame;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use lake::{Error, ErrorKind, Result};

use crate::vectors::failed;

/// A difference between a table and a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference<K> {
    /// In the table only.
    Missing(K),
    /// In both, with other contents.
    Different(K),
    /// In the store only.
    Extra(K),
}

/// Compares rows with a store's listing, both in the order of their keys; `hash` is the column of the rows that tells their contents.
pub(crate) async fn differences<K: Ord>(
    rows: DataFrame,
    mut stored: BoxStream<'static, Result<(K, String)>>,
    hash: &str,
    key: impl Fn(&RecordBatch, usize) -> Result<K>,
) -> Result<Vec<Difference<K>>> {
    let mut rows = rows.execute_stream().await.map_err(failed)?;
    let mut found = vec![];
    let mut next = stored.next().await.transpose()?;
    while let Some(batch) = rows.try_next().await.map_err(failed)? {
        let hashes = texts(&batch, hash)?;
        for row in 0..batch.num_rows() {
            let own = key(&batch, row)?;
            while next.as_ref().is_some_and(|(other, _)| *other < own) {
                found.extend(next.take().map(|(other, _)| Difference::Extra(other)));
                next = stored.next().await.transpose()?;
            }
            match next.as_ref().map(|(other, stored)| (other.cmp(&own), stored.as_str())) {
                Some((Ordering::Equal, stored_hash)) => {
                    if stored_hash != hashes.value(row) {
                        found.push(Difference::Different(own));
                    }
                    next = stored.next().await.transpose()?;
                }
                _ => found.push(Difference::Missing(own)),
            }
        }
    }
    while let Some((extra, _)) = next {
        found.push(Difference::Extra(extra));
        next = stored.next().await.transpose()?;
    }
    Ok(found)
}

/// Keys to store, and keys to take away.
pub(crate) fn parted<K>(found: Vec<Difference<K>>) -> (Vec<K>, Vec<K>) {
    let (mut wanted, mut extra) = (vec![], vec![]);
    for difference in found {
        match difference {
            Difference::Missing(key) | Difference::Different(key) => wanted.push(key),
            Difference::Extra(key) => extra.push(key),
        }
    }
    (wanted, extra)
}

/// A column of texts.
pub(crate) fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray> {
    batch.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()).ok_or_else(|| internal("a column of texts is missing"))
}

pub(crate) fn internal(message: &str) -> Error {
    Error::new(ErrorKind::Internal, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn compared(rows: &[(&str, &str)], stored: &[(&str, &str)]) -> Vec<Difference<String>> {
        let column = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
        let keys = column(rows.iter().map(|r| r.0).collect());
        let hashes = column(rows.iter().map(|r| r.1).collect());
        let batch = RecordBatch::try_from_iter([("key", keys), ("hash", hashes)]).unwrap();
        let frame = SessionContext::new().read_batch(batch).unwrap();
        let stored: Vec<Result<(String, String)>> = stored.iter().map(|(k, h)| Ok((k.to_string(), h.to_string()))).collect();
        let stored = futures::stream::iter(stored).boxed();
        differences(frame, stored, "hash", |batch, row| Ok(texts(batch, "key")?.value(row).to_owned())).await.unwrap()
    }

    #[tokio::test]
    async fn every_difference_is_named_once() {
        use Difference::{Different, Extra, Missing};
        let own = |k: &str| k.to_owned();
        assert_eq!(compared(&[("a", "1"), ("b", "2")], &[("a", "1"), ("b", "2")]).await, []);
        assert_eq!(
            compared(&[("b", "1"), ("c", "2"), ("e", "5")], &[("a", "0"), ("c", "3"), ("d", "4"), ("f", "6")]).await,
            [Extra(own("a")), Missing(own("b")), Different(own("c")), Extra(own("d")), Missing(own("e")), Extra(own("f"))]
        );
        assert_eq!(compared(&[], &[("a", "0")]).await, [Extra(own("a"))]);
        assert_eq!(compared(&[("a", "0")], &[]).await, [Missing(own("a"))]);
    }
}
