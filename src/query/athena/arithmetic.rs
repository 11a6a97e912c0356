//! Arithmetic that tells where the engine's would not: integers that overflow wrap around there, and in conditions here, too.
//! <https://trino.io/docs/current/functions/math.html>

use std::sync::{Arc, LazyLock};

use arrow::array::types::Decimal128Type;
use arrow::array::{ArrayRef, AsArray as _, Datum};
use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
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
            // In conditions it would keep files from being passed over, and fail on rows that another condition leaves out.
            if matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::TableScan(_)) {
                return Ok(Transformed::yes(plan.recompute_schema()?));
            }
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            let plan = plan.map_expressions(|expr| {
                // What is grouped by in several ways is known by its own name.
                if matches!(expr, Expr::GroupingSet(_)) || operators(&expr)? > MOST_OPERATORS {
                    return Ok(Transformed::no(expr));
                }
                let name = names.save(&expr);
                Ok(expr.transform_up(|expr| checked(expr, &schema))?.update_data(|expr| name.restore(expr)))
            })?;
            // Types may be others than before: of ranks, and of quotients.
            plan.map_data(LogicalPlan::recompute_schema)
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "arithmetic"
    }
}

/// So many operators in an expression are taken: types of functions in each other are found out again and again.
const MOST_OPERATORS: usize = 64;

fn operators(expr: &Expr) -> Result<usize> {
    let mut count = 0;
    expr.apply(|expr| {
        count += usize::from(matches!(expr, Expr::BinaryExpr(_)));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(count)
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
            // Ranks are unsigned on the engine, and their difference need not be.
            let signed = |expr: &Expr| match left_type.is_unsigned_integer() {
                true => Expr::Cast(Cast::new(Box::new(expr.clone()), DataType::Int64)),
                false => expr.clone(),
            };
            Ok(Transformed::yes(function.1.call(vec![signed(left), signed(right)])))
        }
        // The engine gives four digits more than the dividend has; where the divisor has more, it stays at that.
        (DataType::Decimal128(precision, scale), DataType::Decimal128(_, other))
            if *op == Operator::Divide && other <= scale + MORE_DIGITS =>
        {
            let precision = i16::from(precision) + i16::from(other) + i16::from((other - scale).max(0));
            let precision = u8::try_from(precision).unwrap_or(MOST_DIGITS).min(MOST_DIGITS);
            let to = DataType::Decimal128(precision, scale.max(other));
            Ok(Transformed::yes(Expr::Cast(Cast::new(Box::new(expr), to))))
        }
        (DataType::Decimal128(..), DataType::Decimal128(..))
            if *op != Operator::Divide && matches!(expr.get_type(schema)?, DataType::Decimal128(MOST_DIGITS, _)) =>
        {
            Ok(Transformed::yes(IN_RANGE.call(vec![expr])))
        }
        _ => Ok(Transformed::no(expr)),
    }
}

/// Decimals of as many digits as they can have, which the engine lets have one more.
static IN_RANGE: LazyLock<ScalarUDF> = LazyLock::new(|| {
    function("__in_range", Takes::By(|types| Ok(types.to_vec())), Gives::By(same_as_first), |args, _| {
        let most = 10_u128.pow(MOST_DIGITS.into());
        let values = args[0].as_primitive::<Decimal128Type>();
        match values.iter().flatten().all(|value| value.unsigned_abs() < most) {
            true => Ok(Arc::clone(&args[0])),
            false => Err(failed("decimal overflow: a result has more than 38 digits")),
        }
    })
});

/// How many digits behind the point a quotient has more than its dividend, on the engine.
const MORE_DIGITS: i8 = 4;
/// Of a decimal.
const MOST_DIGITS: u8 = 38;
