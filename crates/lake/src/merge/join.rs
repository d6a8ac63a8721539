//! Meeting the table by joins, which spill: for more winners than fit in memory.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use crate::error::Result;
use crate::merge::candidates::Winners;
use crate::merge::order::{quoted, same_key, wins};
use crate::merge::{DELETE_COLUMN, Fate, Merge, Sequence, match_error};
use crate::spool::ROW_COLUMN;
use crate::table::{DataFile, FILE_COLUMN, PLACE_COLUMN, Snapshot};

impl Merge<'_> {
    /// A session in which the winners are the left side of a join; when they are on disk the join has to spill too.
    fn session(&self, winners: &Winners, columns: &[&str]) -> Result<SessionContext> {
        let on_disk = winners.rows.is_on_disk();
        let session = if on_disk { self.engine.scratch_session() } else { self.engine.scratch_session_for_small_joins() };
        let table = winners.rows.numbered_table(columns, winners.keep.clone(), !on_disk)?;
        register(&session, "w", table)?;
        Ok(session)
    }

    /// Marks what becomes of the winners and of the rows of `files`.
    pub(super) async fn join_table(&self, winners: &Winners, files: &[DataFile], fate: &mut Fate) -> Result<()> {
        let session = self.session(winners, &self.joined())?;
        register(&session, "t", self.table.scan_places(files.to_vec()))?;
        let sql = format!(
            "SELECT w.{ROW_COLUMN}, t.{FILE_COLUMN}, t.{PLACE_COLUMN}, {} FROM w JOIN t ON {}",
            wins(self.spec, "w", "t"),
            same_key(self.spec, "w", "t"),
        );
        let mut stream = run(&session, &sql).await?;
        while let Some(batch) = stream.try_next().await.map_err(match_error)? {
            let rows = batch.column(0).as_primitive::<UInt64Type>();
            let files = batch.column(1).as_primitive::<UInt32Type>();
            let places = batch.column(2).as_primitive::<Int64Type>();
            let wins = batch.column(3).as_boolean();
            for i in 0..batch.num_rows() {
                match wins.value(i) {
                    true => fate.beat(files.value(i), places.value(i).unsigned_abs(), rows.value(i)),
                    false => fate.lost.insert(rows.value(i)),
                }
            }
        }
        Ok(())
    }

    /// The columns of a winner that are compared with the table's, those for equal sequences too.
    fn joined(&self) -> Vec<&str> {
        let mut columns = self.spec.compared();
        if self.spec.sequence != Sequence::Arrival {
            columns.extend(self.spec.tie_columns());
        }
        columns
    }

    /// Marks the upserts that an earlier delete of the same or a later sequence beats.
    pub(super) async fn join_tombstones(
        &self,
        winners: &Winners,
        tombstones: &Snapshot,
        files: &[DataFile],
        fate: &mut Fate,
    ) -> Result<()> {
        let Sequence::Column(name) = &self.spec.sequence else { return Ok(()) };
        let session = self.session(winners, &self.spec.compared())?;
        register(&session, "d", tombstones.scan_files(files.to_vec()))?;
        let sequence = quoted(name);
        let sql = format!(
            "SELECT w.{ROW_COLUMN} FROM w JOIN d ON {} WHERE NOT w.{DELETE_COLUMN} AND (w.{sequence} IS NULL OR d.{sequence} >= w.{sequence})",
            same_key(self.spec, "w", "d"),
        );
        let mut stream = run(&session, &sql).await?;
        while let Some(batch) = stream.try_next().await.map_err(match_error)? {
            batch.column(0).as_primitive::<UInt64Type>().values().iter().for_each(|row| fate.lost.insert(*row));
        }
        Ok(())
    }
}

fn register(session: &SessionContext, name: &str, table: Arc<dyn datafusion::catalog::TableProvider>) -> Result<()> {
    session.register_table(name, table).map(|_| ()).map_err(match_error)
}

async fn run(session: &SessionContext, sql: &str) -> Result<SendableRecordBatchStream> {
    let frame = session.sql(sql).await.map_err(match_error)?;
    frame.execute_stream().await.map_err(match_error)
}
