//! A set of rows as a function of SQL.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// So many values of a column are listed for the reader of files, of more only the least and the greatest.
const LISTED_VALUES: usize = 16;

/// What a value in a set takes beside its bytes.
const VALUE_OVERHEAD: usize = 48;

/// A set of rows, null being a value like others.
#[derive(Debug)]
pub(super) struct Values {
    types: Vec<DataType>,
    converter: RowConverter,
    rows: HashSet<Box<[u8]>>,
    bytes: usize,
}

impl Values {
    pub(super) fn of(types: Vec<DataType>) -> Result<Self> {
        let converter = RowConverter::new(types.iter().map(|t| SortField::new(t.clone())).collect())?;
        Ok(Self { types, converter, rows: HashSet::new(), bytes: 0 })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// About the memory they take.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.rows.len() * VALUE_OVERHEAD
    }

    pub(super) fn add(&mut self, columns: &[ArrayRef]) -> Result<()> {
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

    /// A condition that holds for rows whose `columns` are in the set.
    pub(super) fn holds(self: &Arc<Self>, columns: Vec<Expr>) -> Expr {
        ScalarUDF::from(Holds { values: self.clone(), signature: Signature::variadic_any(Volatility::Immutable) }).call(columns)
    }

    /// A weaker condition on the only column, of a kind that readers of files know how to use.
    pub(super) fn range(&self, column: &Expr) -> Option<Expr> {
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
