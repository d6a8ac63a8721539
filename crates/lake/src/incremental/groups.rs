//! The groups that a change touches, as a filter on rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan, lit};
use datafusion::prelude::DataFrame;
use futures::StreamExt;

use super::WORKSPACE;
use super::shape::{column, projected};
use super::values::Values;
use super::witness::Witness;
use crate::workspace_id::WORKSPACE_COLUMN;

/// The values that the rows of a result have which a change touches: of columns of the stored table, together and each.
#[derive(Debug, Clone)]
pub struct Groups {
    names: Vec<String>,
    together: Arc<Values>,
    each: Vec<Arc<Values>>,
}

/// Whether the parts of files are skipped whose statistics say that they hold no row of the groups. To look costs time for each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipping {
    /// For small files.
    Nothing,
    /// For great ones.
    ByStatistics,
}

/// How the collecting of groups ended.
#[derive(Debug)]
pub enum Collected {
    /// These are all.
    All(Groups),
    /// There are more than asked for.
    TooMany,
    /// No column that could tell groups apart is known.
    NoColumn,
}

impl Groups {
    /// Runs `witness` for the groups in the form that `stored` keeps them in; at most `most` groups, in at most `bytes` of memory.
    ///
    /// # Errors
    /// Those of the query; it runs over rows that may have been in the tables in neither state together, so it may fail where the query itself
    /// does not.
    pub async fn collect(
        session: &SessionState,
        witness: &Witness,
        stored: &Schema,
        most: usize,
        bytes: usize,
    ) -> Result<Collected> {
        let schema = witness.plan.schema();
        let (places, fields): (Vec<usize>, Vec<Field>) = witness.keys(stored).into_iter().unzip();
        if fields.iter().all(|field| field.name() == WORKSPACE_COLUMN) {
            return Ok(Collected::NoColumn);
        }
        let keys = places.iter().zip(&fields).map(|(place, field)| stored_value(schema, *place, field));
        let plan = projected(keys.collect::<Result<_>>()?, witness.plan.clone())?;
        let mut groups = Builder::new(&fields)?;
        let mut stream = DataFrame::new(session.clone(), plan).execute_stream().await?;
        while let Some(batch) = stream.next().await {
            groups.add(&batch?)?;
            if groups.len() > most || groups.bytes() > bytes {
                return Ok(Collected::TooMany);
            }
        }
        Ok(Collected::All(groups.build()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.together.len()
    }

    /// Whether the change touches nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns, in the order of the table.
    pub fn columns(&self) -> &[String] {
        &self.names
    }

    /// Holds for rows of these groups. The columns are named without a table.
    pub fn holds(&self, skipping: Skipping) -> Expr {
        let columns: Vec<Expr> = self.names.iter().map(|name| Expr::Column(Column::from_name(name))).collect();
        let mut conditions = vec![self.together.holds(columns.clone())];
        // A condition on one column gets further down a plan than one on all.
        if columns.len() > 1 {
            conditions.extend(self.each.iter().zip(&columns).map(|(values, column)| values.holds(vec![column.clone()])));
        }
        if skipping == Skipping::ByStatistics {
            conditions.extend(self.each.iter().zip(columns).filter_map(|(values, column)| values.range(&column)));
        }
        conjunction(conditions).unwrap_or_else(|| lit(true))
    }

    /// Holds for all other rows.
    pub fn holds_not(&self) -> Expr {
        let columns = self.names.iter().map(|name| Expr::Column(Column::from_name(name))).collect();
        Expr::Not(Box::new(self.together.holds(columns)))
    }
}

impl Witness {
    /// The columns of the stored table that tell groups apart, each with its place in the query.
    pub(super) fn keys(&self, stored: &Schema) -> Vec<(usize, Field)> {
        let known = |place: &usize| self.known.get(*place) == Some(&true);
        let fields = stored.fields().iter().filter(|field| tells_apart(field.data_type()));
        let keys =
            fields.filter_map(|field| Some((place_of(self.plan.schema(), field.name()).filter(known)?, field.as_ref().clone())));
        keys.collect()
    }
}

/// The rows of `query`, an analysed plan, that are of `groups`, as `stored` keeps them.
///
/// # Errors
/// When a column of the query cannot be cast to the stored one.
pub fn restricted(query: &LogicalPlan, stored: &Schema, groups: Option<(&Groups, Skipping)>) -> Result<LogicalPlan> {
    let schema = query.schema();
    let columns = stored.fields().iter().map(|field| match place_of(schema, field.name()) {
        Some(place) => stored_value(schema, place, field),
        None => Ok(Expr::Literal(ScalarValue::try_from(field.data_type())?, None).alias(field.name())),
    });
    let plan = projected(columns.collect::<Result<_>>()?, query.clone())?;
    match groups {
        None => Ok(plan),
        Some((groups, skipping)) => Ok(LogicalPlan::Filter(Filter::try_new(groups.holds(skipping), Arc::new(plan))?)),
    }
}

/// Where a stored column is among those of the query. The workspace is what the lake says of it, never what the query does.
fn place_of(schema: &DFSchema, name: &str) -> Option<usize> {
    let name = if name == WORKSPACE_COLUMN { WORKSPACE } else { name };
    schema.fields().iter().position(|f| f.name() == name)
}

fn stored_value(schema: &DFSchema, place: usize, field: &Field) -> Result<Expr> {
    let value = column(schema, place);
    // Lists and objects are brought into their stored form when they are written.
    let value = if field.data_type().is_nested() { value } else { value.cast_to(field.data_type(), schema)? };
    Ok(value.alias(field.name()))
}

/// Whether two values of the type are either the same or not: a float's zeros and what is within a list or an object are left alone.
fn tells_apart(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_decimal()
        || data_type.is_temporal()
        || matches!(data_type, DataType::Boolean | DataType::Utf8 | DataType::Binary)
}

/// Collects groups.
struct Builder {
    names: Vec<String>,
    together: Values,
    each: Vec<Values>,
}

impl Builder {
    fn new(fields: &[Field]) -> Result<Self> {
        let types: Vec<DataType> = fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Self {
            names: fields.iter().map(|f| f.name().clone()).collect(),
            together: Values::of(types.clone())?,
            each: types.into_iter().map(|t| Values::of(vec![t])).collect::<Result<_>>()?,
        })
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.together.add(batch.columns())?;
        for (values, column) in self.each.iter_mut().zip(batch.columns()) {
            values.add(std::slice::from_ref(column))?;
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.together.len()
    }

    fn bytes(&self) -> usize {
        self.each.iter().chain([&self.together]).map(Values::memory).sum()
    }

    fn build(self) -> Groups {
        Groups { names: self.names, together: Arc::new(self.together), each: self.each.into_iter().map(Arc::new).collect() }
    }
}
