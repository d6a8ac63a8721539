//! The seam: a list of files with partition values lowers to DataFusion's own `DataSourceExec`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::RowNumber;
use parquet::arrow::arrow_reader::RowSelection;
use url::Url;

use crate::table::changes::Positions;
use crate::table::checkpoint;
use crate::table::progress::fingerprint;
use crate::table::snapshot::DataFile;
use crate::workspace_id::WORKSPACE_COLUMN;

/// How many lists of deleted rows are read at a time.
const CONCURRENT_READS: usize = 16;

/// The column with the index of a row's file.
pub(crate) const FILE_COLUMN: &str = "__lake_file";

/// The column with a row's place in its file, from 0.
pub(crate) const PLACE_COLUMN: &str = "__lake_place";

/// The rows of some Parquet files of one table. The files are fixed when it is made, so a plan over it cannot reach others.
pub(crate) struct FileScan {
    schema: SchemaRef,
    store: Arc<dyn ObjectStore>,
    store_url: String,
    files: Vec<DataFile>,
    /// By place in `files`: the rows of the file that are read, where not all are.
    rows: Vec<Option<Positions>>,
    file_column: bool,
    place_column: Option<FieldRef>,
}

impl std::fmt::Debug for FileScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileScan").field("store_url", &self.store_url).field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl FileScan {
    /// `schema` has the workspace column last; `store` is rooted at the table's folder, `root`. Stores that note what is read are told apart by
    /// `number`.
    pub(crate) fn new(
        schema: SchemaRef,
        store: Arc<dyn ObjectStore>,
        root: &Url,
        number: Option<usize>,
        files: Vec<DataFile>,
    ) -> Self {
        let store_url = format!("lake://{:016x}.{}/", fingerprint([root.as_str()]), number.unwrap_or_default());
        Self { schema, store, store_url, files, rows: vec![], file_column: false, place_column: None }
    }

    /// Reads some rows of each file only.
    pub(crate) fn with_rows(mut self, rows: Vec<Option<Positions>>) -> Self {
        self.rows = rows;
        self
    }

    /// Adds [`FILE_COLUMN`].
    pub(crate) fn with_file_column(mut self) -> Self {
        let extra = Arc::new(Field::new(FILE_COLUMN, DataType::UInt32, false));
        self.schema = Arc::new(Schema::new(self.schema.fields().iter().cloned().chain([extra]).collect::<Vec<_>>()));
        self.file_column = true;
        self
    }

    /// Adds [`FILE_COLUMN`] and [`PLACE_COLUMN`].
    pub(crate) fn with_places(self) -> Self {
        let mut scan = self.with_file_column();
        let place = Arc::new(Field::new(PLACE_COLUMN, DataType::Int64, false).with_extension_type(RowNumber));
        scan.schema = Arc::new(Schema::new(scan.schema.fields().iter().cloned().chain([place.clone()]).collect::<Vec<_>>()));
        scan.place_column = Some(place);
        scan
    }

    fn partition_fields(&self) -> Vec<FieldRef> {
        self.schema.fields().iter().filter(|f| is_partition(f.name())).cloned().collect()
    }

    fn file_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.schema
                .fields()
                .iter()
                .filter(|f| !is_partition(f.name()) && f.name() != PLACE_COLUMN)
                .cloned()
                .collect::<Vec<_>>(),
        ))
    }

    /// The rows to read of each file, where not all are: those that were asked for and are not deleted.
    async fn selections(&self) -> Result<Vec<Option<RowSelection>>> {
        futures::stream::iter(0..self.files.len())
            .map(|index| self.selection(index))
            .buffered(CONCURRENT_READS)
            .try_collect()
            .await
    }

    async fn selection(&self, index: usize) -> Result<Option<RowSelection>> {
        let asked = self.rows.get(index).and_then(Option::as_ref).map(Positions::selection);
        let Some((file, vector)) = self.files.get(index).and_then(|file| Some((file, file.deleted.as_ref()?))) else {
            return Ok(asked);
        };
        let deleted = vector.load(self.store.as_ref()).await.map_err(|e| DataFusionError::External(Box::new(e)))?;
        let told = asked.as_ref().map(|rows| (rows.row_count() + rows.skipped_row_count()) as u64).or_else(|| file.rows_held());
        let held = match told {
            Some(rows) => rows,
            None => checkpoint::rows_in(&self.store, object(file)).await?,
        };
        let there = Positions::of_set(&deleted.others(held), usize::try_from(held).unwrap_or(usize::MAX)).selection();
        Ok(Some(match asked {
            Some(asked) => asked.intersection(&there),
            None => there,
        }))
    }

    fn partitioned_file(&self, index: usize, file: &DataFile, selection: Option<&RowSelection>) -> PartitionedFile {
        // The path is the store's already; any other constructor would encode it once more.
        let mut out = PartitionedFile::from(object(file));
        out.partition_values = vec![ScalarValue::Utf8(file.workspace.clone())];
        if self.file_column {
            out.partition_values.push(ScalarValue::UInt32(u32::try_from(index).ok()));
        }
        if let Some(selection) = selection {
            out.extensions.insert(ParquetRowSelection::new(selection.clone()));
        }
        out
    }

    /// The files in `count` groups of about equal bytes.
    fn groups(&self, count: usize, selections: &[Option<RowSelection>]) -> Vec<FileGroup> {
        let mut order: Vec<usize> = (0..self.files.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(self.files[*i].size));
        let mut groups = vec![(0u64, Vec::new()); count.clamp(1, self.files.len().max(1))];
        for i in order {
            if let Some(smallest) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
                smallest.0 += self.files[i].size;
                smallest.1.push(self.partitioned_file(i, &self.files[i], selections.get(i).and_then(Option::as_ref)));
            }
        }
        groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect()
    }

    fn known_statistics(&self) -> Statistics {
        let rows: Option<u64> = self.files.iter().map(|f| f.rows).sum();
        let bytes: u64 = self.files.iter().map(|f| f.size).sum();
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = rows.and_then(|r| usize::try_from(r).ok()).map_or(Precision::Absent, Precision::Exact);
        statistics.total_byte_size = usize::try_from(bytes).map_or(Precision::Absent, Precision::Inexact);
        statistics
    }
}

fn object(file: &DataFile) -> ObjectMeta {
    let last_modified = chrono::DateTime::UNIX_EPOCH;
    ObjectMeta { location: file.path.clone(), last_modified, size: file.size, e_tag: None, version: None }
}

fn is_partition(name: &str) -> bool {
    name == WORKSPACE_COLUMN || name == FILE_COLUMN
}

#[async_trait]
impl TableProvider for FileScan {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let url = ObjectStoreUrl::parse(&self.store_url)?;
        state.runtime_env().register_object_store(url.as_ref(), self.store.clone());
        let table = TableSchema::builder(self.file_schema())
            .with_table_partition_cols(self.partition_fields())
            .with_virtual_columns(self.place_column.iter().cloned().collect::<Vec<_>>())
            .build();
        let mut source = ParquetSource::new(table);
        if let Some(filter) = conjunction(filters.iter().cloned()) {
            let columns = DFSchema::try_from(self.schema.as_ref().clone())?;
            source = source.with_predicate(state.create_physical_expr(filter, &columns)?);
        }
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(self.groups(state.config().target_partitions(), &self.selections().await?))
            .with_statistics(self.known_statistics())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.known_statistics())
    }
}
