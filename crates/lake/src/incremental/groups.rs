//! The groups that a change touches, as a filter on rows.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Filter, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    lit,
};
use datafusion::prelude::DataFrame;
use futures::StreamExt;

use super::WORKSPACE;
use super::shape::{column, projected};
use super::witness::Witness;
use crate::workspace_id::WORKSPACE_COLUMN;

/// So many values of a column are listed for the reader of files, of more only the least and the greatest.
const LISTED_VALUES: usize = 16;

/// What a value in a set takes beside its bytes.
const VALUE_OVERHEAD: usize = 48;

/// The values that the rows of a result have which a change touches: of columns of the stored table, together and each.
#[derive(Debug, Clone)]
pub struct Groups {
    names: Vec<String>,
    together: Arc<Values>,
    each: Vec<Arc<Values>>,
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
        self.together.rows.len()
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
    pub fn holds(&self) -> Expr {
        let columns: Vec<Expr> = self.names.iter().map(|name| Expr::Column(Column::from_name(name))).collect();
        let mut conditions = vec![self.together.holds(columns.clone())];
        // A condition on one column gets further down a plan than one on all.
        if columns.len() > 1 {
            conditions.extend(self.each.iter().zip(&columns).map(|(values, column)| values.holds(vec![column.clone()])));
        }
        conditions.extend(self.each.iter().zip(columns).filter_map(|(values, column)| values.range(&column)));
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
pub fn restricted(query: &LogicalPlan, stored: &Schema, groups: Option<&Groups>) -> Result<LogicalPlan> {
    let schema = query.schema();
    let columns = stored.fields().iter().map(|field| match place_of(schema, field.name()) {
        Some(place) => stored_value(schema, place, field),
        None => Ok(Expr::Literal(ScalarValue::try_from(field.data_type())?, None).alias(field.name())),
    });
    let plan = projected(columns.collect::<Result<_>>()?, query.clone())?;
    match groups {
        None => Ok(plan),
        Some(groups) => Ok(LogicalPlan::Filter(Filter::try_new(groups.holds(), Arc::new(plan))?)),
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
        self.together.rows.len()
    }

    fn bytes(&self) -> usize {
        self.each.iter().chain([&self.together]).map(|v| v.bytes + v.rows.len() * VALUE_OVERHEAD).sum()
    }

    fn build(self) -> Groups {
        Groups { names: self.names, together: Arc::new(self.together), each: self.each.into_iter().map(Arc::new).collect() }
    }
}

/// A set of rows, null being a value like others.
#[derive(Debug)]
struct Values {
    types: Vec<DataType>,
    converter: RowConverter,
    rows: HashSet<Box<[u8]>>,
    bytes: usize,
}

impl Values {
    fn of(types: Vec<DataType>) -> Result<Self> {
        let converter = RowConverter::new(types.iter().map(|t| SortField::new(t.clone())).collect())?;
        Ok(Self { types, converter, rows: HashSet::new(), bytes: 0 })
    }

    fn add(&mut self, columns: &[ArrayRef]) -> Result<()> {
        for row in &self.converter.convert_columns(columns)? {
            if !self.rows.contains(row.as_ref()) {
                self.bytes += row.as_ref().len();
                self.rows.insert(row.as_ref().into());
            }
        }
        Ok(())
    }

    fn contains(&self, columns: &[ArrayRef]) -> Result<BooleanArray> {
        let cast_to = |(column, data_type): (&ArrayRef, &DataType)| match column.data_type() == data_type {
            true => Ok(column.clone()),
            false => cast(column, data_type),
        };
        let columns = columns.iter().zip(&self.types).map(cast_to).collect::<Result<Vec<_>, _>>()?;
        let rows = self.converter.convert_columns(&columns)?;
        Ok(rows.iter().map(|row| Some(self.rows.contains(row.as_ref()))).collect())
    }

    fn holds(self: &Arc<Self>, columns: Vec<Expr>) -> Expr {
        ScalarUDF::from(Holds { values: self.clone(), signature: Signature::variadic_any(Volatility::Immutable) }).call(columns)
    }

    /// A weaker condition on the only column, of a kind that readers of files know how to use.
    fn range(&self, column: &Expr) -> Option<Expr> {
        let mut sorted: Vec<&[u8]> = self.rows.iter().map(AsRef::as_ref).collect();
        if sorted.len() > LISTED_VALUES {
            let null = self.null_row();
            let values = || sorted.iter().copied().filter(|row| null.as_deref() != Some(*row));
            let ends = [values().min()?, values().max()?];
            let has_null = null.as_deref().is_some_and(|n| self.rows.contains(n));
            let ends = self.values(&ends)?;
            let [least, greatest] = ends.try_into().ok()?;
            let between = column.clone().between(lit_of(least), lit_of(greatest));
            return Some(if has_null { between.or(column.clone().is_null()) } else { between });
        }
        sorted.sort_unstable();
        let values = self.values(&sorted)?;
        let has_null = values.iter().any(ScalarValue::is_null);
        let list: Vec<Expr> = values.into_iter().filter(|v| !v.is_null()).map(lit_of).collect();
        let listed = (!list.is_empty()).then(|| column.clone().in_list(list, false));
        match (listed, has_null) {
            (Some(listed), true) => Some(listed.or(column.clone().is_null())),
            (Some(listed), false) => Some(listed),
            (None, true) => Some(column.clone().is_null()),
            (None, false) => None,
        }
    }

    fn null_row(&self) -> Option<Box<[u8]>> {
        let null = arrow::array::new_null_array(self.types.first()?, 1);
        let rows = self.converter.convert_columns(&[null]).ok()?;
        rows.iter().next().map(|row| row.as_ref().into())
    }

    /// The values of rows of one column.
    fn values(&self, rows: &[&[u8]]) -> Option<Vec<ScalarValue>> {
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.iter().map(|row| parser.parse(row))).ok()?;
        let column = columns.first()?;
        (0..rows.len()).map(|i| ScalarValue::try_from_array(column, i).ok()).collect()
    }
}

fn lit_of(value: ScalarValue) -> Expr {
    Expr::Literal(value, None)
}

/// Whether a row is in a set, as a function of SQL.
#[derive(Debug)]
struct Holds {
    values: Arc<Values>,
    signature: Signature,
}

impl PartialEq for Holds {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.values, &other.values)
    }
}

impl Eq for Holds {}

impl Hash for Holds {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.values).hash(state);
    }
}

impl ScalarUDFImpl for Holds {
    fn name(&self) -> &str {
        "__lake_is_of_groups"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let found = self.values.contains(&ColumnarValue::values_to_arrays(&args.args)?)?;
        match (constant, found.is_empty()) {
            (true, false) => Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(found.value(0))))),
            _ => Ok(ColumnarValue::Array(Arc::new(found))),
        }
    }
}
