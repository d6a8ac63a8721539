//! Evaluating an expression over a batch when some of its rows may fail.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::{concat, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;

use crate::error::{Error, ErrorKind, Result};
use crate::query_error::query_error;
use crate::verdict::judge::safe_cast;

/// An expression that is ready to run over batches of one schema.
#[derive(Debug, Clone)]
pub(super) struct Evaluator {
    expr: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    /// What is cast to a decimal, nulls standing for what does not fit, when the expression is no more than that.
    cast: Option<Arc<dyn PhysicalExpr>>,
}

/// Values of an expression, and the rows it failed on (their value is null).
pub(super) struct Evaluated {
    pub(super) values: ArrayRef,
    pub(super) failed: Vec<usize>,
}

impl Evaluator {
    pub(super) fn new(session: &SessionContext, expr: &Expr, schema: &SchemaRef) -> Result<Self> {
        let fail = |e| query_error("cannot prepare an expression", e);
        let columns = DFSchema::try_from(schema.as_ref().clone()).map_err(fail)?;
        let cast = match expr {
            Expr::TryCast(cast) => Some(session.state().create_physical_expr((*cast.expr).clone(), &columns).map_err(fail)?),
            _ => None,
        };
        let expr = session.state().create_physical_expr(expr.clone(), &columns).map_err(fail)?;
        let data_type = expr.data_type(schema).map_err(fail)?;
        let cast = cast.filter(|_| matches!(data_type, DataType::Decimal128(..)));
        Ok(Self { expr, data_type, cast })
    }

    pub(super) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Evaluates the whole batch at once; only a batch with a failing row is cut in halves until the row is alone.
    pub(super) fn run(&self, batch: &RecordBatch) -> Result<Evaluated> {
        let mut parts = vec![];
        let mut failed = vec![];
        self.run_part(batch, 0, &mut parts, &mut failed)?;
        let values = match parts.len() {
            1 => parts.swap_remove(0),
            0 => new_null_array(&self.data_type, 0),
            _ => concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>()).map_err(internal)?,
        };
        Ok(Evaluated { values, failed })
    }

    fn run_part(&self, batch: &RecordBatch, start: usize, parts: &mut Vec<ArrayRef>, failed: &mut Vec<usize>) -> Result<()> {
        let rows = batch.num_rows();
        let values = match &self.cast {
            None => self.expr.evaluate(batch).and_then(|v| v.into_array(rows)),
            Some(given) => {
                let given = given.evaluate(batch).and_then(|v| v.into_array(rows));
                given.and_then(|given| safe_cast(&given, &self.data_type).map_err(|e| DataFusionError::External(e.into())))
            }
        };
        match values {
            Ok(values) => parts.push(values),
            Err(_) if rows <= 1 => {
                failed.push(start);
                parts.push(new_null_array(&self.data_type, rows));
            }
            Err(_) => {
                let half = rows / 2;
                self.run_part(&part(batch, 0, half)?, start, parts, failed)?;
                self.run_part(&part(batch, half, rows)?, start + half, parts, failed)?;
            }
        }
        Ok(())
    }

    /// The rows for which the condition holds (not false, not null, not failed), and those on which it failed.
    pub(super) fn holds(&self, batch: &RecordBatch) -> Result<(Vec<bool>, Vec<usize>)> {
        let evaluated = self.run(batch)?;
        let values = arrow::compute::cast(&evaluated.values, &DataType::Boolean).map_err(internal)?;
        let Some(values) = values.as_any().downcast_ref::<BooleanArray>() else {
            return Err(Error::new(ErrorKind::Internal, "a condition is neither true nor false"));
        };
        Ok(((0..values.len()).map(|i| values.is_valid(i) && values.value(i)).collect(), evaluated.failed))
    }
}

/// The rows from `start` to `end`, copied: a slice of lists keeps all their items, and a cast would fail on those of other rows.
fn part(batch: &RecordBatch, start: usize, end: usize) -> Result<RecordBatch> {
    let rows = UInt64Array::from_iter_values(start as u64..end as u64);
    take_record_batch(batch, &rows).map_err(internal)
}

/// Why `expr` fails on a row of nulls; `None` when it does not.
pub(super) fn fails_on_nulls(session: &SessionContext, expr: &Expr, schema: &SchemaRef) -> Option<Error> {
    let evaluator = match Evaluator::new(session, expr, schema) {
        Ok(evaluator) => evaluator,
        Err(error) => return Some(error),
    };
    let columns = schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
    let nullable = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
    let row = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(nullable)), columns).ok()?;
    let fails = evaluator.expr.evaluate(&row).and_then(|v| v.into_array(1)).err()?;
    Some(query_error("a value cannot be computed", fails))
}

fn internal(source: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "cannot evaluate an expression").with_source(source)
}
