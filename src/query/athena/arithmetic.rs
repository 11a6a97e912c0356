//! Arithmetic that tells where the engine's would not: integers that overflow wrap around there.
//! <https://trino.io/docs/current/functions/math.html>

use std::sync::LazyLock;

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable as _, LogicalPlan, Operator, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;

use super::function::{Gives, Takes, failed, function, same_as_first};
use super::types::type_name;

/// After types are settled: what is added is of one type by then.
#[derive(Debug)]
pub(super) struct Arithmetic;

impl AnalyzerRule for Arithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(expr.transform_up(|expr| checked(expr, &schema))?.update_data(|expr| name.restore(expr)))
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "arithmetic"
    }
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>;

/// What integers are added, subtracted and multiplied by.
const KERNELS: [(Operator, &str, &str, Kernel); 3] = [
    (Operator::Plus, "__add", "addition", add),
    (Operator::Minus, "__subtract", "subtraction", sub),
    (Operator::Multiply, "__multiply", "multiplication", mul),
];

static FUNCTIONS: LazyLock<Vec<(Operator, ScalarUDF)>> = LazyLock::new(|| {
    let checked = |(op, name, noun, kernel): (Operator, &'static str, &'static str, Kernel)| {
        let takes = Takes::By(|types| Ok(types.to_vec()));
        let function = function(name, takes, Gives::By(same_as_first), move |args, data_type| {
            kernel(&args[0], &args[1]).map_err(|error| match error {
                ArrowError::ArithmeticOverflow(_) => failed(format!("{} {noun} overflow", type_name(data_type))),
                other => other.into(),
            })
        });
        (op, function)
    };
    KERNELS.into_iter().map(checked).collect()
});

/// Integers by functions that fail, and quotients of decimals of as many digits behind the point as their operands.
fn checked(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expr else { return Ok(Transformed::no(expr)) };
    if !matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide) {
        return Ok(Transformed::no(expr));
    }
    match (left.get_type(schema)?, right.get_type(schema)?) {
        (left_type, right_type) if left_type == right_type && left_type.is_integer() => {
            let Some(function) = FUNCTIONS.iter().find(|(own, _)| own == op) else { return Ok(Transformed::no(expr)) };
            Ok(Transformed::yes(function.1.call(vec![left.as_ref().clone(), right.as_ref().clone()])))
        }
        (DataType::Decimal128(precision, scale), DataType::Decimal128(_, other)) if *op == Operator::Divide => {
            let precision = i16::from(precision) + i16::from(other) + i16::from((other - scale).max(0));
            let precision = u8::try_from(precision).unwrap_or(MOST_DIGITS).min(MOST_DIGITS);
            let to = DataType::Decimal128(precision, scale.max(other));
            Ok(Transformed::yes(Expr::Cast(Cast::new(Box::new(expr), to))))
        }
        _ => Ok(Transformed::no(expr)),
    }
}

/// Of a decimal.
const MOST_DIGITS: u8 = 38;
