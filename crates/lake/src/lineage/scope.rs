//! What a name in an expression means: the columns of the input, and those of the queries around it.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::origin::Origin;

/// The names an expression can use.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    names: Names<'a>,
    outer: Option<&'a Scope<'a>>,
}

#[derive(Clone, Copy)]
enum Names<'a> {
    /// Any name is a column of this dataset.
    Dataset(&'a str),
    /// The columns of one input, or of the two sides of a join, position by position.
    Inputs(&'a [Input<'a>]),
}

/// The schema of an input and the origin of each of its columns.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) schema: &'a DFSchema,
    pub(super) columns: &'a [Origin],
}

impl<'a> Input<'a> {
    fn column(&self, column: &Column) -> Option<&'a Origin> {
        // The same search the physical planner makes, so that the column found is the column that is read.
        self.columns.get(self.schema.maybe_index_of_column(column)?)
    }
}

impl<'a> Scope<'a> {
    /// Every name is a column of `dataset`.
    pub(super) fn dataset(dataset: &'a str) -> Self {
        Self { names: Names::Dataset(dataset), outer: None }
    }

    /// The columns of `inputs`, inside of the query whose names are `outer`.
    pub(super) fn inputs(inputs: &'a [Input<'a>], outer: Option<&'a Scope<'a>>) -> Self {
        Self { names: Names::Inputs(inputs), outer }
    }

    /// Where a column of the input comes from.
    pub(super) fn column(&self, column: &Column) -> Origin {
        self.lookup(column).unwrap_or_else(|| unresolved(column))
    }

    /// Where a column of a query around this one comes from; the nearest one that has the name counts.
    pub(super) fn outer_column(&self, column: &Column) -> Origin {
        let mut next = self.outer;
        while let Some(scope) = next {
            if let Some(origin) = scope.lookup(column) {
                return origin;
            }
            next = scope.outer;
        }
        unresolved(column)
    }

    /// Whether `expr` is a map, whose keys are values and not columns.
    pub(super) fn is_map(&self, expr: &Expr) -> bool {
        match self.names {
            Names::Dataset(_) => false,
            Names::Inputs(inputs) => inputs.iter().any(|input| matches!(expr.get_type(input.schema), Ok(DataType::Map(_, _)))),
        }
    }

    fn lookup(&self, column: &Column) -> Option<Origin> {
        match self.names {
            Names::Dataset(dataset) => Some(Origin::of_column(dataset, &column.name, None)),
            Names::Inputs(inputs) => inputs.iter().find_map(|input| input.column(column)).cloned(),
        }
    }
}

/// A plan that DataFusion accepted has no such column; if one appears, a gap is better than an invented source.
fn unresolved(column: &Column) -> Origin {
    tracing::warn!(column = %column.name, "a column of the plan has no known origin; its lineage is incomplete");
    Origin::default()
}
