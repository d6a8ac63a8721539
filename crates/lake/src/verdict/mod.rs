//! What becomes of each row of a silver table's input: one pass over a batch evaluates `where`, casts, required columns and
//! expectations, and parts the rows.

mod decimal;
mod evaluate;
mod judge;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::Expr;

pub use judge::Judge;
pub(crate) use judge::delta_type;

use crate::pipeline::{CompiledSilver, Otherwise};
use crate::report::ExpectationReport;

/// The column of a quarantine table with why the row is there.
pub const REASON_COLUMN: &str = "_reason";

/// The column that holds a table's sequence when no output column does.
pub const SEQUENCE_COLUMN: &str = "_sequence";

/// The rules of one silver table.
#[derive(Debug, Clone)]
pub struct RowRules {
    /// The input's columns.
    pub source_schema: SchemaRef,
    /// The output's columns.
    pub columns: Vec<OutputRule>,
    /// Rows for which it does not hold are dropped. Over the input's columns.
    pub filter: Option<Expr>,
    /// Rows for which it holds delete their key. Over the input's columns.
    pub delete_when: Option<Expr>,
    /// Indices of the key in `columns`.
    pub key: Vec<usize>,
    /// Output columns, then the input's columns that no output column hides.
    pub check_schema: SchemaRef,
    /// Which row of a key wins. Over `check_schema`.
    pub sequence_by: Option<Expr>,
    /// Whether rows may be marked as deleted.
    pub merge_on_read: bool,
    /// In order. Over `check_schema`.
    pub expectations: Vec<ExpectationRule>,
}

impl From<&CompiledSilver> for RowRules {
    fn from(table: &CompiledSilver) -> Self {
        let column = |c: &crate::pipeline::OutputColumn| OutputRule {
            name: c.name.clone(),
            expr: c.expr.clone(),
            data_type: c.data_type.clone(),
            required: c.required,
        };
        let expectation = |e: &crate::pipeline::CompiledExpectation| ExpectationRule {
            name: e.name.clone(),
            expr: e.expr.clone(),
            otherwise: e.otherwise,
        };
        Self {
            source_schema: table.source_schema.clone(),
            columns: table.columns.iter().map(column).collect(),
            filter: table.filter.clone(),
            delete_when: table.delete_when.clone(),
            key: table.key.clone(),
            check_schema: table.check_schema.clone(),
            sequence_by: table.sequence_by.clone(),
            merge_on_read: table.merge_on_read,
            expectations: table.expectations.iter().map(expectation).collect(),
        }
    }
}

impl RowRules {
    /// The parts (columns, expectations, `where`, `delete_when`, `sequence_by`) that fail on a row of nulls, and so on every row.
    pub fn failing(&self, session: &datafusion::prelude::SessionContext) -> Vec<(String, crate::Error)> {
        let columns = self.columns.iter().map(|c| (c.name.as_str(), &c.expr, &self.source_schema));
        let expectations = self.expectations.iter().map(|e| (e.name.as_str(), &e.expr, &self.check_schema));
        let conditions = [("where", &self.filter, &self.source_schema), ("delete_when", &self.delete_when, &self.source_schema)];
        let conditions = conditions.into_iter().filter_map(|(n, e, s)| Some((n, e.as_ref()?, s)));
        let sequence = self.sequence_by.iter().map(|e| ("sequence_by", e, &self.check_schema));
        let parts = columns.chain(expectations).chain(conditions).chain(sequence);
        parts
            .filter_map(|(name, expr, schema)| Some((name.to_string(), evaluate::fails_on_nulls(session, expr, schema)?)))
            .collect()
    }
}

/// One output column.
#[derive(Debug, Clone)]
pub struct OutputRule {
    /// Its name.
    pub name: String,
    /// Its value before the cast, over the input's columns.
    pub expr: Expr,
    /// Its type.
    pub data_type: DataType,
    /// Whether null sends the row to quarantine.
    pub required: bool,
}

/// One expectation.
#[derive(Debug, Clone)]
pub struct ExpectationRule {
    /// Its name.
    pub name: String,
    /// A condition.
    pub expr: Expr,
    /// What happens to a row for which it does not hold.
    pub otherwise: Otherwise,
}

/// A batch, parted.
#[derive(Debug)]
pub struct Judged {
    /// Rows to merge or append, in the schema of [`crate::merge::MergeSpec::candidates`] (the arrival column is left to the caller).
    pub passed: RecordBatch,
    /// Rows for the quarantine table: the input's columns and [`REASON_COLUMN`].
    pub quarantined: Option<RecordBatch>,
}

/// What a judge has counted so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Rows judged.
    pub read: u64,
    /// Rows dropped by `where` or an expectation.
    pub dropped: u64,
    /// Rows sent to quarantine.
    pub quarantined: u64,
    /// Rows in quarantine by reason; a row can have several.
    pub reasons: BTreeMap<String, u64>,
    /// By expectation.
    pub expectations: BTreeMap<String, ExpectationReport>,
    /// Rows for which an expectation that must hold did not, by expectation.
    pub fatal: BTreeMap<String, u64>,
}

impl Tally {
    /// Adds what another judge of the same table has counted.
    pub fn add(&mut self, other: &Tally) {
        self.read += other.read;
        self.dropped += other.dropped;
        self.quarantined += other.quarantined;
        for (reason, rows) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += rows;
        }
        for (name, found) in &other.expectations {
            let sum = self.expectations.entry(name.clone()).or_default();
            sum.passed += found.passed;
            sum.failed += found.failed;
        }
        for (name, rows) in &other.fatal {
            *self.fatal.entry(name.clone()).or_default() += rows;
        }
    }
}
