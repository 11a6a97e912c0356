//! The filters of a scan, as expressions over the columns of its table.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::PhysicalExpr;

/// `filters` over the columns of `schema`, which are named without their table.
///
/// # Errors
/// When one is of other columns.
pub(super) fn physical_filters(
    filters: &[Expr],
    schema: &SchemaRef,
    state: &dyn Session,
) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    let columns = DFSchema::try_from(Arc::clone(schema))?;
    filters.iter().map(|filter| state.create_physical_expr(without_table(filter.clone())?, &columns)).collect()
}

fn without_table(expr: Expr) -> Result<Expr> {
    datafusion::logical_expr::expr_rewriter::unnormalize_cols([expr])
        .pop()
        .ok_or_else(|| DataFusionError::Internal("an expression was lost".to_owned()))
}
