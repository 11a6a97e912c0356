//! Intervals: <https://trino.io/docs/current/functions/datetime.html#interval-functions>.
//!
//! The engine has two types of them: what is written, in months, days and nanoseconds, and what lies between two timestamps, in
//! microseconds. It compares the former part by part, so that 36 hours are less than a day. Here all are compared as what they
//! last, multiplied, and printed as Athena does; dates that are subtracted give one.

use std::sync::Arc;

use arrow::array::types::{DurationMicrosecondType, Float64Type, IntervalMonthDayNanoType};
use arrow::array::{
    ArrayRef, AsArray as _, DurationMicrosecondArray, Int64Array, IntervalMonthDayNanoArray, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Alias, ScalarFunction};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable as _, Operator, ScalarUDF};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator};

use super::function::{Gives, Takes, by_row, failed, function, same_as_first, wrong};
use super::rewrite::{binary, nested, take};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// As Athena takes them when it counts days of months without a date.
const DAYS_PER_MONTH: i64 = 30;

const DURATION: DataType = DataType::Duration(TimeUnit::Microsecond);
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![
        lasts(),
        times(),
        between(),
        function("to_milliseconds", Takes::By(one), Gives::This(DataType::Int64), |args, _| {
            let micros = micros_of(&args[0])?;
            Ok(Arc::new(micros.unary::<_, arrow::array::types::Int64Type>(|micros| micros / 1000)))
        }),
    ]
}

/// How many microseconds an interval lasts.
fn lasts() -> ScalarUDF {
    function("__lasts", Takes::By(one), Gives::This(DataType::Int64), |args, _| Ok(Arc::new(micros_of(&args[0])?)))
}

/// An interval so many times.
fn times() -> ScalarUDF {
    function(
        "__times",
        Takes::By(|types| match types {
            [interval, factor] if factor.is_numeric() || factor.is_null() => {
                Ok([one(std::slice::from_ref(interval))?, vec![DataType::Float64]].concat())
            }
            _ => Err(wrong("an interval is multiplied by a number")),
        }),
        Gives::By(same_as_first),
        |args, _| multiply(args),
    )
}

/// What lies between two dates.
fn between() -> ScalarUDF {
    function("__between", Takes::By(|_| Ok(vec![DataType::Date32; 2])), Gives::This(DURATION), |args, _| {
        let days = [args[0].as_primitive(), args[1].as_primitive::<arrow::array::types::Date32Type>()];
        let out: DurationMicrosecondArray = by_row(args, |row| {
            let [to, from] = days.map(|days| i64::from(days.value(row)));
            Ok(Some((to - from) * MICROS_PER_DAY))
        })?;
        Ok(Arc::new(out))
    })
}

pub(super) fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

fn one(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Duration(_)] => Ok(vec![DURATION]),
        [data_type] if is_interval(data_type) || data_type.is_null() => Ok(vec![INTERVAL]),
        _ => Err(wrong("an interval is taken")),
    }
}

/// Without the months.
fn day_micros(interval: IntervalMonthDayNano) -> i64 {
    i64::from(interval.days).saturating_mul(MICROS_PER_DAY).saturating_add(interval.nanoseconds / 1000)
}

fn micros_of(intervals: &ArrayRef) -> Result<Int64Array> {
    if let Some(durations) = intervals.as_primitive_opt::<DurationMicrosecondType>() {
        return Ok(durations.unary(|micros| micros));
    }
    let intervals = intervals.as_primitive_opt::<IntervalMonthDayNanoType>();
    let intervals = intervals.ok_or_else(|| failed("an interval of another kind"))?;
    let micros = |interval: IntervalMonthDayNano| {
        let months = i64::from(interval.months).saturating_mul(DAYS_PER_MONTH * MICROS_PER_DAY);
        months.saturating_add(day_micros(interval))
    };
    Ok(intervals.unary(micros))
}

fn multiply(args: &[ArrayRef]) -> Result<ArrayRef> {
    let factors = args[1].as_primitive::<Float64Type>();
    let times = |value: i64, factor: f64| {
        let product = (value as f64 * factor).round();
        let fits = product.is_finite() && product.abs() < i64::MAX as f64;
        fits.then_some(product as i64).ok_or_else(|| failed("interval out of range"))
    };
    if let Some(durations) = args[0].as_primitive_opt::<DurationMicrosecondType>() {
        let out: DurationMicrosecondArray =
            by_row(args, |row| times(durations.value(row), factors.value(row)).map(Some))?;
        return Ok(Arc::new(out));
    }
    let intervals = args[0].as_primitive::<IntervalMonthDayNanoType>();
    let out: IntervalMonthDayNanoArray = by_row(args, |row| {
        let (interval, factor) = (intervals.value(row), factors.value(row));
        let (months, micros) = (times(interval.months.into(), factor)?, times(day_micros(interval), factor)?);
        let out_of_range = |_| failed("interval out of range");
        let months = i32::try_from(months).map_err(out_of_range)?;
        let days = i32::try_from(micros / MICROS_PER_DAY).map_err(out_of_range)?;
        Ok(Some(IntervalMonthDayNano::new(months, days, micros % MICROS_PER_DAY * 1000)))
    })?;
    Ok(Arc::new(out))
}

/// Intervals as text: `2 03:00:00.000`, or `1-6` of years and months.
pub(super) fn print(intervals: &ArrayRef) -> Result<ArrayRef> {
    let micros_text = |micros: i64| {
        let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
        let (days, millis) = (micros / MICROS_PER_DAY as u64, micros % MICROS_PER_DAY as u64 / 1000);
        let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
        format!("{sign}{days} {hours:02}:{minutes:02}:{seconds:02}.{:03}", millis % 1000)
    };
    let texts: StringArray = if let DataType::Duration(_) = intervals.data_type() {
        let durations = cast(intervals, &DURATION)?;
        durations.as_primitive::<DurationMicrosecondType>().iter().map(|micros| micros.map(micros_text)).collect()
    } else {
        let text = |interval: IntervalMonthDayNano| {
            let (months, micros) = (interval.months, day_micros(interval));
            if months == 0 {
                return micros_text(micros);
            }
            let sign = if months < 0 { "-" } else { "" };
            let years_and_months = format!("{sign}{}-{}", months.unsigned_abs() / 12, months.unsigned_abs() % 12);
            if micros == 0 { years_and_months } else { format!("{years_and_months} {}", micros_text(micros)) }
        };
        let intervals = cast(intervals, &INTERVAL)?;
        intervals.as_primitive::<IntervalMonthDayNanoType>().iter().map(|interval| interval.map(text)).collect()
    };
    Ok(Arc::new(texts))
}

/// A column of intervals as text, under its name.
pub(super) fn as_text(column: Expr) -> Expr {
    let text = |interval| {
        let function =
            function("__interval_text", Takes::By(one), Gives::This(DataType::Utf8), |args, _| print(&args[0]));
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![interval]))
    };
    match column {
        Expr::Column(Column { relation, name, spans }) => {
            let qualifier = relation.clone();
            text(Expr::Column(Column { relation, name: name.clone(), spans })).alias_qualified(qualifier, name)
        }
        Expr::Alias(Alias { expr, relation, name, .. }) => text(*expr).alias_qualified(relation, name),
        other => text(other),
    }
}

/// Plans operations on intervals, which depend on the types of both sides.
#[derive(Debug)]
pub(super) struct IntervalPlanner;

impl ExprPlanner for IntervalPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let type_of = |expr: &Expr| expr.get_type(schema).ok();
        let both = |is: fn(&DataType) -> bool| {
            type_of(&expr.right).is_some_and(|right| is(&right)) && type_of(&expr.left).is_some_and(|left| is(&left))
        };
        let call = |function: ScalarUDF, args| Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), args));
        let compare = match expr.op {
            BinaryOperator::Eq => Some(Operator::Eq),
            BinaryOperator::NotEq => Some(Operator::NotEq),
            BinaryOperator::Lt => Some(Operator::Lt),
            BinaryOperator::LtEq => Some(Operator::LtEq),
            BinaryOperator::Gt => Some(Operator::Gt),
            BinaryOperator::GtEq => Some(Operator::GtEq),
            _ => None,
        };
        if let Some(operator) = compare {
            if !both(is_interval) {
                return Ok(PlannerResult::Original(expr));
            }
            let [left, right] = [expr.left, expr.right].map(|side| Box::new(call(lasts(), vec![side])));
            return Ok(PlannerResult::Planned(Expr::BinaryExpr(BinaryExpr { left, op: operator, right })));
        }
        let planned = match expr.op {
            BinaryOperator::Minus if both(|data_type| matches!(data_type, DataType::Date32 | DataType::Date64)) => {
                call(between(), vec![expr.left, expr.right])
            }
            BinaryOperator::Multiply | BinaryOperator::Divide => {
                let is_interval =
                    |expr: &Expr| may_be_interval(expr) && type_of(expr).is_some_and(|ty| is_interval(&ty));
                match (is_interval(&expr.left), is_interval(&expr.right)) {
                    (true, false) if expr.op == BinaryOperator::Divide => {
                        let one = Expr::Literal(ScalarValue::Float64(Some(1.0)), None);
                        let (left, right) = (Box::new(one), Box::new(expr.right));
                        let factor = Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right });
                        call(times(), vec![expr.left, factor])
                    }
                    (true, false) => call(times(), vec![expr.left, expr.right]),
                    (false, true) if expr.op == BinaryOperator::Multiply => call(times(), vec![expr.right, expr.left]),
                    _ => return Ok(PlannerResult::Original(expr)),
                }
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

/// Products and sums are not: so the type of a long chain of them is not asked for again and again.
fn may_be_interval(expr: &Expr) -> bool {
    !matches!(expr, Expr::BinaryExpr(operation) if operation.op != Operator::Minus)
}

/// `x BETWEEN INTERVAL ... AND ...` as two comparisons.
pub(super) fn compare_both(expr: &mut ast::Expr) -> Option<ast::Expr> {
    fn is_written(expr: &ast::Expr) -> bool {
        match expr {
            ast::Expr::Nested(inner) => is_written(inner),
            ast::Expr::UnaryOp { expr, .. } => is_written(expr),
            expr => matches!(expr, ast::Expr::Interval(_)),
        }
    }
    let ast::Expr::Between { expr, negated, low, high } = expr else { return None };
    if !(is_written(low) || is_written(high)) {
        return None;
    }
    let (above, below) =
        if *negated { (BinaryOperator::Lt, BinaryOperator::Gt) } else { (BinaryOperator::GtEq, BinaryOperator::LtEq) };
    let of = nested(take(expr));
    let joined = if *negated { BinaryOperator::Or } else { BinaryOperator::And };
    Some(binary(binary(of.clone(), above, nested(take(low))), joined, binary(of, below, nested(take(high)))))
}
