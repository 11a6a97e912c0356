//! Arithmetic that tells where the engine's would not: integers that overflow wrap around there, and in conditions here, too.
//! <https://trino.io/docs/current/functions/math.html>

use std::sync::{Arc, LazyLock};

use arrow::array::types::Decimal128Type;
use arrow::array::{ArrayRef, AsArray as _, Datum, Decimal128Array};
use arrow::compute::cast;
use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::{DataType, i256};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable as _, LogicalPlan, Operator, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;

use super::function::{Arg, Gives, Takes, by_row, failed, function, same_as_first, simplified, wrong};
use super::types::type_name;

/// After types are settled: what is added is of one type by then.
#[derive(Debug)]
pub(super) struct Arithmetic;

impl AnalyzerRule for Arithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            if matches!(plan, LogicalPlan::TableScan(_)) {
                return Ok(Transformed::yes(plan.recompute_schema()?));
            }
            // In conditions it would keep files from being passed over, and fail on rows that another condition leaves out.
            let is_condition = matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            let plan = plan.map_expressions(|expr| {
                // What is grouped by in several ways is known by its own name.
                if matches!(expr, Expr::GroupingSet(_)) || operators(&expr)? > MOST_OPERATORS {
                    return Ok(Transformed::no(expr));
                }
                let name = names.save(&expr);
                Ok(expr
                    .transform_up(|expr| checked(expr, &schema, is_condition))?
                    .update_data(|expr| name.restore(expr)))
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

/// Integers by functions that fail, but in conditions; and quotients of decimals whose types were not known when they were planned.
fn checked(expr: Expr, schema: &DFSchema, is_condition: bool) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expr else { return Ok(Transformed::no(expr)) };
    let is_asked = match op {
        Operator::Divide => true,
        Operator::Plus | Operator::Minus | Operator::Multiply => !is_condition,
        _ => false,
    };
    if !is_asked {
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
        (DataType::Decimal128(..), DataType::Decimal128(..)) if *op == Operator::Divide => {
            // Of the type that what is around it was settled for.
            let engine = expr.get_type(schema)?;
            let own = quotient(left.as_ref().clone(), right.as_ref().clone());
            Ok(Transformed::yes(Expr::Cast(Cast::new(Box::new(own), engine))))
        }
        (DataType::Decimal128(..), DataType::Decimal128(..))
            if matches!(expr.get_type(schema)?, DataType::Decimal128(MOST_DIGITS, _)) =>
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

/// Of a decimal.
const MOST_DIGITS: u8 = 38;

/// A decimal divided by another, to as many digits behind the point as the one with the most of them has. The engine's quotient
/// has four more than its dividend, whatever its divisor has.
static QUOTIENT: LazyLock<ScalarUDF> = LazyLock::new(|| {
    function("__quotient", Takes::By(decimals), Gives::By(quotient_type), |args, data_type| {
        let (left, right) = (args[0].as_primitive::<Decimal128Type>(), args[1].as_primitive::<Decimal128Type>());
        let DataType::Decimal128(_, scale) = data_type else { return Err(failed("a quotient is no decimal")) };
        let digits = i16::from(*scale) - i16::from(left.scale()) + i16::from(right.scale());
        let digits = u32::try_from(digits).map_err(|_| failed("a decimal has a negative scale"))?;
        let divided: Decimal128Array = by_row(args, |row| divide(left.value(row), right.value(row), digits).map(Some))?;
        Ok(Arc::new(divided.with_data_type(data_type.clone())))
    })
});

pub(super) fn quotient(dividend: Expr, divisor: Expr) -> Expr {
    QUOTIENT.call(vec![dividend, divisor])
}

/// Integers as decimals of all their digits.
fn decimals(types: &[DataType]) -> Result<Vec<DataType>> {
    let decimal = |data_type: &DataType| match data_type {
        DataType::Decimal128(..) => Ok(data_type.clone()),
        DataType::UInt64 => Ok(DataType::Decimal128(20, 0)),
        other if other.is_integer() => Ok(DataType::Decimal128(19, 0)),
        other => Err(wrong(format!("{} is no decimal", type_name(other)))),
    };
    types.iter().map(decimal).collect()
}

/// <https://trino.io/docs/current/functions/decimal.html>
fn quotient_type(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    let types = decimals(types)?;
    let [DataType::Decimal128(precision, scale), DataType::Decimal128(_, other)] = types.as_slice() else {
        return Err(wrong("a quotient is of two decimals"));
    };
    let precision = i16::from(*precision) + i16::from(*other) + i16::from((other - scale).max(0));
    let precision = u8::try_from(precision).unwrap_or(MOST_DIGITS).min(MOST_DIGITS);
    Ok(DataType::Decimal128(precision, *scale.max(other)))
}

/// `dividend * 10^digits / divisor`, rounded half up.
fn divide(dividend: i128, divisor: i128, digits: u32) -> Result<i128> {
    if divisor == 0 {
        return Err(ArrowError::DivideByZero.into());
    }
    let overflow = || failed("decimal overflow: a quotient has more than 38 digits");
    let narrow = 10_i128.checked_pow(digits).and_then(|factor| dividend.checked_mul(factor));
    let (whole, rest) = match narrow {
        Some(dividend) => (dividend / divisor, (dividend % divisor).unsigned_abs()),
        None => {
            let factor = i256::from_i128(10).checked_pow(digits).ok_or_else(overflow)?;
            let dividend = i256::from_i128(dividend).checked_mul(factor).ok_or_else(overflow)?;
            let divisor = i256::from_i128(divisor);
            let whole = dividend.checked_div(divisor).and_then(i256::to_i128).ok_or_else(overflow)?;
            let rest = dividend.checked_rem(divisor).and_then(i256::to_i128).ok_or_else(overflow)?;
            (whole, rest.unsigned_abs())
        }
    };
    let is_up = rest >= divisor.unsigned_abs() - rest;
    let sign = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
    let rounded = if is_up { whole + sign } else { whole };
    if rounded.unsigned_abs() < 10_u128.pow(MOST_DIGITS.into()) { Ok(rounded) } else { Err(overflow()) }
}

/// An average of decimals of as many digits behind the point as these, of which the engine's has four more.
pub(super) const AVERAGE: &str = "__average";

pub(super) fn functions() -> Vec<ScalarUDF> {
    let simplify = |mut args: Vec<Expr>, context: &SimplifyContext| match context.get_data_type(&args[0])? {
        DataType::Decimal128(..) => Ok(ExprSimplifyResult::Original(args)),
        _ => Ok(ExprSimplifyResult::Simplified(args.remove(0))),
    };
    vec![simplified(
        AVERAGE,
        Takes::These(&[Arg::Any], 1),
        Gives::By(average_type),
        Some(simplify),
        |args, data_type| Ok(cast(&args[0], data_type)?),
    )]
}

fn average_type(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    const MORE_DIGITS: u8 = 4;
    Ok(match types {
        [DataType::Decimal128(precision, scale)] => {
            let scale = u8::try_from(*scale).unwrap_or(0).saturating_sub(MORE_DIGITS);
            // Of as many as can be, it is not known how many of them are more.
            let more = if *precision == MOST_DIGITS { 0 } else { MORE_DIGITS };
            DataType::Decimal128(precision - more.min(precision - 1), scale as i8)
        }
        [data_type, ..] => data_type.clone(),
        [] => return Err(wrong("an average is of something")),
    })
}
