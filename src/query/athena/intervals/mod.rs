//! Intervals: <https://trino.io/docs/current/functions/datetime.html#interval-functions>.
//!
//! The engine's intervals have months, days and nanoseconds, which it compares one by one, so that 36 hours are less than a day;
//! what lies between two timestamps is a duration. Here all intervals of days to seconds are durations in microseconds, and
//! only those of years and months are the engine's. Where durations are added to dates and timestamps, they become what the
//! engine adds.

mod written;

use std::sync::Arc;

use arrow::array::types::{
    DurationMicrosecondType, Float64Type, Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use arrow::array::{
    ArrayRef, AsArray as _, DurationMicrosecondArray, Int64Array, IntervalMonthDayNanoArray, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, Operator, ScalarUDF, binary_expr};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::dates::MICROS_PER_DAY;
use super::function::{Arg, Gives, Takes, by_row, failed, function, same_as_first, wrong};

pub(super) use written::{in_words, is_written, keep_frame, literal};

/// As Athena takes them when it counts days of months without a date.
const DAYS_PER_MONTH: i64 = 30;

const DURATION: DataType = DataType::Duration(TimeUnit::Microsecond);
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![
        lasts(),
        scaled(TIMES),
        scaled(DIVIDED),
        between(),
        addend(ADDEND),
        addend(INSTANT_ADDEND),
        function(OF_MICROS, Takes::These(&[Arg::Int], 1), Gives::This(DURATION), |args, _| {
            Ok(cast(&args[0], &DURATION)?)
        }),
        function("to_milliseconds", Takes::By(one), Gives::This(DataType::Int64), |args, _| {
            Ok(Arc::new(micros_of(&args[0])?.unary::<_, Int64Type>(|micros| micros / 1000)))
        }),
    ]
}

/// An interval of so many microseconds.
const OF_MICROS: &str = "__interval";
const TIMES: &str = "__times";
const DIVIDED: &str = "__divided";

/// How many microseconds an interval lasts.
fn lasts() -> ScalarUDF {
    function("__lasts", Takes::By(one), Gives::This(DataType::Int64), |args, _| Ok(Arc::new(micros_of(&args[0])?)))
}

/// An interval so many times, or divided by a number.
fn scaled(name: &'static str) -> ScalarUDF {
    let takes = |types: &[DataType]| match types {
        [interval, factor] if factor.is_numeric() || factor.is_null() => {
            Ok([one(std::slice::from_ref(interval))?, vec![DataType::Float64]].concat())
        }
        _ => Err(wrong("an interval is multiplied and divided by numbers")),
    };
    let by: fn(f64, f64) -> f64 = if name == TIMES { |value, by| value * by } else { |value, by| value / by };
    function(name, Takes::By(takes), Gives::By(same_as_first), move |args, _| scale(args, by))
}

/// What lies between two dates or timestamps.
fn between() -> ScalarUDF {
    function("__between", Takes::These(&[Arg::Moment, Arg::Moment], 2), Gives::This(DURATION), |args, _| {
        let [to, from] = [&args[0], &args[1]].map(|arg| arg.as_primitive::<TimestampMicrosecondType>().values());
        let out: DurationMicrosecondArray = by_row(args, |row| {
            to[row].checked_sub(from[row]).map(Some).ok_or_else(|| failed("interval out of range"))
        })?;
        Ok(Arc::new(out))
    })
}

/// A duration as what the engine adds to dates and times: whole days, and what is left.
pub(super) const ADDEND: &str = "__addend";
/// The same for timestamps with a time zone, where a day of the clock may last longer or shorter: nothing but what it lasts.
const INSTANT_ADDEND: &str = "__instant_addend";

fn addend(name: &'static str) -> ScalarUDF {
    let unit = if name == ADDEND { MICROS_PER_DAY } else { i64::MAX };
    function(name, Takes::By(one), Gives::This(INTERVAL), move |args, _| {
        let Some(durations) = args[0].as_primitive_opt::<DurationMicrosecondType>() else {
            return Ok(Arc::clone(&args[0]));
        };
        let out: IntervalMonthDayNanoArray = by_row(args, |row| {
            let micros = durations.value(row);
            match (i32::try_from(micros / unit), (micros % unit).checked_mul(1000)) {
                (Ok(days), Some(nanos)) => Ok(Some(IntervalMonthDayNano::new(0, days, nanos))),
                _ => Err(failed("interval out of range")),
            }
        })?;
        Ok(Arc::new(out))
    })
}

pub(super) fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

/// One interval.
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

/// To whole milliseconds, or months.
fn scale(args: &[ArrayRef], by: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let factors = args[1].as_primitive::<Float64Type>();
    let scaled = |value: i64, factor: f64| {
        let scaled = by(value as f64, factor).trunc();
        let fits = scaled.abs() < i64::MAX as f64 / 1000.0;
        fits.then_some(scaled as i64).ok_or_else(|| failed("interval out of range"))
    };
    if let Some(durations) = args[0].as_primitive_opt::<DurationMicrosecondType>() {
        let out: DurationMicrosecondArray =
            by_row(args, |row| Ok(Some(scaled(durations.value(row) / 1000, factors.value(row))? * 1000)))?;
        return Ok(Arc::new(out));
    }
    let intervals = args[0].as_primitive::<IntervalMonthDayNanoType>();
    let out: IntervalMonthDayNanoArray = by_row(args, |row| {
        let (interval, factor) = (intervals.value(row), factors.value(row));
        let months = scaled(interval.months.into(), factor)?;
        let nanos = scaled(day_micros(interval), factor)?.checked_mul(1000);
        match (i32::try_from(months), nanos) {
            (Ok(months), Some(nanos)) => Ok(Some(IntervalMonthDayNano::new(months, 0, nanos))),
            _ => Err(failed("interval out of range")),
        }
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
    let shown = |interval| {
        let function =
            function("__interval_text", Takes::By(one), Gives::This(DataType::Utf8), |args, _| print(&args[0]));
        function.call(vec![interval])
    };
    match column {
        Expr::Column(Column { relation, name, spans }) => {
            let qualifier = relation.clone();
            shown(Expr::Column(Column { relation, name: name.clone(), spans })).alias_qualified(qualifier, name)
        }
        Expr::Alias(Alias { expr, relation, name, .. }) => shown(*expr).alias_qualified(relation, name),
        other => shown(other),
    }
}

/// Plans operations on intervals, which depend on the types of both sides.
#[derive(Debug)]
pub(super) struct IntervalPlanner;

impl ExprPlanner for IntervalPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator::{Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Multiply, NotEq, Plus};
        let type_of = |expr: &Expr| if may_be_interval(expr) { expr.get_type(schema).ok() } else { None };
        let is_asked = matches!(expr.op, Plus | Minus | Multiply | Divide | Eq | NotEq | Lt | LtEq | Gt | GtEq);
        let scales = matches!(expr.op, Multiply | Divide);
        // What stands on the right is mostly a leaf, so that its type is soon told.
        let right = Some(&expr.right).filter(|_| is_asked).and_then(type_of);
        let may_concern = scales || right.as_ref().is_some_and(|right| is_interval(right) || is_temporal(right));
        let left = Some(&expr.left).filter(|_| may_concern).and_then(type_of);
        // A number by which an interval is multiplied may itself be a product.
        let number = |of: &Expr, other: &Option<DataType>| match other {
            Some(other) if scales && is_interval(other) => of.get_type(schema).ok(),
            _ => None,
        };
        let (left, right) = match (left, right) {
            (left, None) => (left.clone(), number(&expr.right, &left)),
            (None, right) => (number(&expr.left, &right), right),
            both => both,
        };
        let (Some(left), Some(right)) = (left, right) else { return Ok(PlannerResult::Original(expr)) };
        let planned = match expr.op {
            Minus if is_day(&left) && is_day(&right) => between().call(vec![expr.left, expr.right]),
            Plus | Minus if is_temporal(&left) && right == DURATION => {
                let op = if expr.op == Plus { Operator::Plus } else { Operator::Minus };
                binary_expr(expr.left, op, addend_of(&left).call(vec![expr.right]))
            }
            Plus if left == DURATION && is_temporal(&right) => {
                binary_expr(expr.right, Operator::Plus, addend_of(&right).call(vec![expr.left]))
            }
            Multiply if is_interval(&left) && right.is_numeric() => scaled(TIMES).call(vec![expr.left, expr.right]),
            Multiply if left.is_numeric() && is_interval(&right) => scaled(TIMES).call(vec![expr.right, expr.left]),
            Divide if is_interval(&left) && right.is_numeric() => scaled(DIVIDED).call(vec![expr.left, expr.right]),
            // All but two durations.
            Eq | NotEq | Lt | LtEq | Gt | GtEq
                if is_interval(&left) && is_interval(&right) && (&left, &right) != (&DURATION, &DURATION) =>
            {
                let (left, right) = (lasts().call(vec![expr.left]), lasts().call(vec![expr.right]));
                return Ok(PlannerResult::Original(RawBinaryExpr { op: expr.op, left, right }));
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

fn is_day(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
}

fn is_temporal(data_type: &DataType) -> bool {
    is_day(data_type) || matches!(data_type, DataType::Time32(_) | DataType::Time64(_))
}

fn addend_of(to: &DataType) -> ScalarUDF {
    addend(if matches!(to, DataType::Timestamp(_, Some(_))) { INSTANT_ADDEND } else { ADDEND })
}

/// Products are planned as functions where they are: so the type of a long chain of them is not asked for again and again.
fn may_be_interval(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(operation) => matches!(operation.op, Operator::Plus | Operator::Minus),
        _ => true,
    }
}

/// Windows are ordered by what intervals last: the engine knows no ranges of them.
#[derive(Debug)]
pub(super) struct OrderedWindows;

impl AnalyzerRule for OrderedWindows {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let LogicalPlan::Window(window) = &plan else { return Ok(Transformed::no(plan)) };
            let schema = Arc::clone(window.input.schema());
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let ordered = expr.transform_up(|expr| {
                    let Expr::WindowFunction(mut function) = expr else { return Ok(Transformed::no(expr)) };
                    let mut is_changed = false;
                    for order in &mut function.params.order_by {
                        if is_interval(&order.expr.get_type(&schema)?) {
                            order.expr = lasts().call(vec![std::mem::take(&mut order.expr)]);
                            is_changed = true;
                        }
                    }
                    let expr = Expr::WindowFunction(function);
                    Ok(if is_changed { Transformed::yes(expr) } else { Transformed::no(expr) })
                })?;
                Ok(ordered.update_data(|expr| name.restore(expr)))
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "ordered_windows"
    }
}
