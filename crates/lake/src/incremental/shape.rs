//! Plans with given columns, so that an operator takes a rewritten input as it took the one before.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Projection, Union};

/// The column at `place` of `schema`.
pub(super) fn column(schema: &DFSchema, place: usize) -> Expr {
    Expr::Column(Column::from(schema.qualified_field(place)))
}

/// `expr` with the type and the name of the column at `place` of `schema`.
pub(super) fn named(expr: Expr, schema: &DFSchema, place: usize) -> Expr {
    let (qualifier, field) = schema.qualified_field(place);
    expr.alias_qualified(qualifier.cloned(), field.name())
}

/// NULL as the column at `place` of `schema`.
pub(super) fn null(schema: &DFSchema, place: usize) -> Result<Expr> {
    let value = ScalarValue::try_from(schema.field(place).data_type())?;
    Ok(named(Expr::Literal(value, None), schema, place))
}

/// `exprs` over `input`.
pub(super) fn projected(exprs: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan> {
    Projection::try_new(exprs, Arc::new(input)).map(LogicalPlan::Projection)
}

/// The rows of all `plans`, whose columns are those of `schema` by place.
pub(super) fn united(plans: Vec<LogicalPlan>, schema: &DFSchema) -> Result<LogicalPlan> {
    let mut plans = plans;
    if plans.len() == 1
        && let Some(only) = plans.pop()
    {
        return Ok(only);
    }
    // Names without a table need not be unique below a union, and these are.
    let name = |place: usize| format!("__lake_{place}");
    let branches = plans.into_iter().map(|plan| {
        let from = plan.schema().clone();
        let columns = (0..schema.fields().len()).map(|place| {
            let target = schema.field(place).data_type();
            Ok(column(&from, place).cast_to(target, &from)?.alias(name(place)))
        });
        Ok(Arc::new(projected(columns.collect::<Result<_>>()?, plan)?))
    });
    let union = LogicalPlan::Union(Union::try_new(branches.collect::<Result<_>>()?)?);
    let columns = (0..schema.fields().len()).map(|place| named(column(union.schema(), place), schema, place)).collect();
    projected(columns, union)
}
