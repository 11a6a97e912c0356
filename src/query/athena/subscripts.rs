//! `m[k]` of a map with a key that is computed, and `r[1]` of a row: the engine knows keys that are literals, and names.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable as _, GetFieldAccess};

use super::arrays::element_at;
use super::function::wrong;

#[derive(Debug)]
pub(super) struct MapSubscripts;

impl ExprPlanner for MapSubscripts {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let GetFieldAccess::ListIndex { key } = &access.field_access else {
            return Ok(PlannerResult::Original(access));
        };
        let literal = match &**key {
            Expr::Literal(ScalarValue::Int64(place), _) => Some(*place),
            Expr::Literal(..) => return Ok(PlannerResult::Original(access)),
            _ => None,
        };
        Ok(match (access.expr.get_type(schema), literal) {
            (Ok(DataType::Map(..)), None) => {
                PlannerResult::Planned(element_at().call(vec![access.expr, key.as_ref().clone()]))
            }
            (Ok(DataType::Struct(fields)), Some(place)) => {
                let index = place.and_then(|place| usize::try_from(place).ok()?.checked_sub(1));
                let field = index.and_then(|index| fields.get(index));
                let field =
                    field.ok_or_else(|| wrong(format!("a row of {} fields has no such subscript", fields.len())))?;
                PlannerResult::Planned(get_field(access.expr, field.name().as_str()))
            }
            _ => PlannerResult::Original(access),
        })
    }
}
