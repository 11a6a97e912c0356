//! Calls of functions that the engine has under another name, in another form, or as an expression: by their names and arguments alone.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CastKind, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, Ident, LambdaFunction, LambdaFunctionParameter, LambdaSyntax,
    NullTreatment, ObjectName, OneOrManyWithParens, OrderByExpr, OrderByOptions, Value,
};

use super::arithmetic::AVERAGE;
use super::json::JSON_SCALAR;
use super::lambdas::SORT_BY;
use super::maps::MOST_FREQUENT;
use super::rewrite::{any, binary, call, case, list, nested, null, number, take, text};
use super::types::custom_name;
use super::{casts, guards, intervals, meanings};

/// The positional arguments of a function.
fn args_of(function: &mut Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &mut function.args else { return None };
    let expr = |arg: &mut FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter_mut().map(expr).collect()
}

/// The type that a function is to return: `json_value(x, path RETURNING bigint)`.
fn returned(function: &Function) -> Option<String> {
    let FunctionArguments::List(list) = &function.args else { return None };
    list.clauses.iter().find_map(|clause| match clause {
        FunctionArgumentClause::JsonReturningClause(clause) => Some(match &clause.data_type {
            ast::DataType::Custom(name, _) => custom_name(name),
            data_type => data_type.to_string(),
        }),
        _ => None,
    })
}

fn set_args(function: &mut Function, name: &str, args: Vec<Expr>) {
    function.name = ObjectName::from(vec![Ident::new(name)]);
    if let FunctionArguments::List(old) = &mut function.args {
        old.args = list(args).args;
    }
}

/// Has an aggregate take only rows for which this is true, too.
fn narrow(function: &mut Function, filter: Expr) {
    function.filter = Some(Box::new(match function.filter.take() {
        Some(other) => binary(nested(*other), BinaryOperator::And, filter),
        None => filter,
    }));
}

fn order_by(function: &mut Function, expr: Expr, is_ascending: bool) {
    let order = OrderByExpr {
        expr,
        options: OrderByOptions { asc: Some(is_ascending), nulls_first: Some(false) },
        with_fill: None,
    };
    if let FunctionArguments::List(list) = &mut function.args {
        list.clauses.push(FunctionArgumentClause::OrderBy(vec![order]));
    }
}

/// Functions that DataFusion has under another name.
const SAME: [(&str, &str); 22] = [
    ("array_remove", "array_remove_all"),
    ("ceiling", "ceil"),
    ("bitwise_and_agg", "bit_and"),
    ("bitwise_or_agg", "bit_or"),
    ("bitwise_xor_agg", "bit_xor"),
    ("codepoint", "ascii"),
    ("dow", "day_of_week"),
    ("doy", "day_of_year"),
    ("every", "bool_and"),
    ("filter", "array_filter"),
    ("is_nan", "isnan"),
    ("json_size", "json_array_length"),
    ("levenshtein_distance", "levenshtein"),
    ("pow", "power"),
    ("rand", "random"),
    ("row", "struct"),
    ("stddev_samp", "stddev"),
    ("transform", "array_transform"),
    ("truncate", "trunc"),
    ("variance", "var_samp"),
    ("week_of_year", "week"),
    ("yow", "year_of_week"),
];

/// Writes a call as the engine takes it: in place, or as the expression that is given.
///
/// # Errors
/// A message when a function is given arguments that it does not take.
pub(super) fn rewrite(function: &mut Function) -> Result<Option<Expr>, String> {
    let [ast::ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return Ok(None) };
    let name = name.value.to_ascii_lowercase();
    if name == "localtimestamp" {
        return Ok(Some(call(casts::CAST, vec![call("now", Vec::new()), text("timestamp")])));
    }
    let Some(mut args) = args_of(function) else { return Ok(None) };
    let count = args.len();
    let mut arg = |index: usize| take(&mut args[index]);
    let takes = |numbers: &str| Err(format!("{name} takes {numbers} arguments, not {count}"));
    let new = match (name.as_str(), count) {
        ("if", 2) => guards::settle(case(arg(0), arg(1), None)),
        ("if", 3) => guards::settle(case(arg(0), arg(1), Some(arg(2)))),
        ("if", _) => return takes("2 or 3"),
        ("try", 1) => {
            let body = Box::new(arg(0));
            let params = OneOrManyWithParens::Many(Vec::new());
            call("try", vec![Expr::Lambda(LambdaFunction { params, body, syntax: LambdaSyntax::Arrow })])
        }
        ("try", _) => return takes("1"),
        ("none_match", 2) => not(call("any_match", vec![arg(0), arg(1)])),
        ("all_match", 2) => {
            let (array, mut lambda) = (arg(0), arg(1));
            let Expr::Lambda(LambdaFunction { body, .. }) = &mut lambda else {
                return takes("an array and a lambda as");
            };
            **body = not(take(body));
            not(call("any_match", vec![array, lambda]))
        }
        // The engine's own, which take its intervals.
        ("date_bin" | "generate_series" | "range", _) => {
            let args = args.into_iter().map(|arg| match intervals::is_written(&arg) {
                true => call(intervals::ADDEND, vec![arg]),
                false => arg,
            });
            let args = args.collect();
            set_args(function, &name, args);
            return Ok(None);
        }
        ("array_sort", 2) => call(SORT_BY, vec![arg(0), arg(1)]),
        ("date", 1) => call(casts::CAST, vec![arg(0), text("date")]),
        ("mod", 2) => binary(nested(arg(0)), BinaryOperator::Modulo, nested(arg(1))),
        ("bitwise_and", 2) => binary(nested(arg(0)), BinaryOperator::BitwiseAnd, nested(arg(1))),
        ("bitwise_or", 2) => binary(nested(arg(0)), BinaryOperator::BitwiseOr, nested(arg(1))),
        ("bitwise_xor", 2) => binary(nested(arg(0)), BinaryOperator::BitwiseXor, nested(arg(1))),
        ("infinity", 0) => double("Infinity"),
        ("nan", 0) => double("NaN"),
        ("e", 0) => call("exp", vec![number("1")]),
        ("current_timezone", 0) => text("UTC"),
        ("greatest" | "least", 2..) => {
            // Null when an argument is null; DataFusion passes over nulls.
            let is_null = any(args.iter().map(|arg| Expr::IsNull(Box::new(nested(arg.clone())))).collect());
            // Not visited again, for what replaces an expression is not.
            case(is_null, null(), Some(call(&name, args)))
        }
        ("count_if", 1) => {
            set_args(function, "count", vec![case(arg(0), number("1"), None)]);
            return Ok(None);
        }
        ("arbitrary" | "any_value", 1) => {
            set_args(function, "first_value", vec![arg(0)]);
            function.null_treatment = Some(NullTreatment::IgnoreNulls);
            return Ok(None);
        }
        ("set_agg", 1) => {
            set_args(function, "array_agg", vec![arg(0)]);
            if let FunctionArguments::List(list) = &mut function.args {
                list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
            }
            return Ok(None);
        }
        ("approx_most_frequent", 3) => {
            let wanted = arg(0);
            set_args(function, "histogram", vec![arg(1)]);
            call(MOST_FREQUENT, vec![Expr::Function(function.clone()), wanted])
        }
        // By all values, one after another: there is nothing to be combined.
        ("reduce_agg", 4) => {
            let (value, first, step) = (arg(0), arg(1), arg(2));
            let has_value = Expr::IsNotNull(Box::new(nested(value.clone())));
            set_args(function, "array_agg", vec![value]);
            narrow(function, has_value);
            let state = Ident::new("state");
            let params = OneOrManyWithParens::One(LambdaFunctionParameter { name: state.clone(), data_type: None });
            let body = Box::new(Expr::Identifier(state));
            let last = Expr::Lambda(LambdaFunction { params, body, syntax: LambdaSyntax::Arrow });
            call("reduce", vec![Expr::Function(function.clone()), first, step, last])
        }
        ("avg", 1) => call(AVERAGE, vec![Expr::Function(function.clone())]),
        ("geometric_mean", 1) => {
            set_args(function, "avg", vec![call("ln", vec![arg(0)])]);
            call("exp", vec![Expr::Function(function.clone())])
        }
        ("approx_distinct", 1 | 2) => {
            // The second argument is the error that is allowed.
            set_args(function, "approx_distinct", vec![call(casts::DISTINCT_KEY, vec![arg(0)])]);
            return Ok(None);
        }
        ("listagg", 1 | 2) => {
            let delimiter = if count == 2 { arg(1) } else { text("") };
            set_args(function, "string_agg", vec![arg(0), delimiter]);
            let order = std::mem::take(&mut function.within_group);
            if let FunctionArguments::List(list) = &mut function.args
                && !order.is_empty()
            {
                list.clauses.push(FunctionArgumentClause::OrderBy(order));
            }
            return Ok(None);
        }
        // Aggregates over windows take no order of their own.
        ("max_by" | "min_by", 2) if function.over.is_some() => return Ok(None),
        ("max_by" | "min_by", 2) => {
            let (value, key) = (arg(0), arg(1));
            // A row without a key counts for nothing.
            let value = case(Expr::IsNotNull(Box::new(nested(key.clone()))), value, None);
            set_args(function, "first_value", vec![value]);
            order_by(function, key, name == "min_by");
            return Ok(None);
        }
        // max(x, n) is max_by(x, x, n).
        ("max_by" | "min_by", 3) | ("max" | "min", 2) => {
            let (most, key) = (arg(count - 1), arg(count - 2));
            let value = if count == 3 { arg(0) } else { key.clone() };
            set_args(function, "array_agg", vec![value]);
            narrow(function, Expr::IsNotNull(Box::new(nested(key.clone()))));
            order_by(function, key, name.starts_with("min"));
            call("slice", vec![Expr::Function(function.clone()), number("1"), most])
        }
        ("max_by" | "min_by", _) => return takes("2 or 3"),
        ("json_value", 2) => match returned(function) {
            // Null where it is of another type.
            Some(data_type) => call(casts::TRY_CAST, vec![call(JSON_SCALAR, vec![arg(0), arg(1)]), text(data_type)]),
            None => return Ok(None),
        },
        ("to_char" | "to_timestamp" | "to_date", 2) => match meanings::teradata(&name, &mut args)? {
            Some(new) => new,
            None => return Ok(None),
        },
        ("approx_percentile", 2..=4) => return approx_percentile(function, args).map(Some),
        ("is_infinite", 1) => binary(call("abs", vec![arg(0)]), BinaryOperator::Eq, double("Infinity")),
        ("is_finite", 1) => {
            // NaN is above infinity here.
            binary(call("abs", vec![arg(0)]), BinaryOperator::Lt, double("Infinity"))
        }
        _ => {
            if let Some(new) = meanings::by_another(&name, &mut args) {
                return Ok(Some(new));
            }
            if let Some((_, same)) = SAME.iter().find(|(other, _)| *other == name) {
                function.name = ObjectName::from(vec![Ident::new(*same)]);
            }
            return Ok(None);
        }
    };
    Ok(Some(new))
}

/// `(x, percentage)`, `(x, weight, percentage)`, each also with an array of percentages, and with an accuracy behind.
fn approx_percentile(function: &mut Function, mut args: Vec<Expr>) -> Result<Expr, String> {
    let is_percentage = |expr: &Expr| match expr {
        Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits.contains('.')),
        Expr::Array(_) => true,
        _ => false,
    };
    // (x, percentage, accuracy) was once allowed, too.
    let has_weight = args.len() > 3 || (args.len() == 3 && !is_percentage(&args[1]));
    args.truncate(if has_weight { 3 } else { 2 });
    let Some(percentages) = args.pop() else { return Err("approx_percentile takes 2 or 3 arguments".to_owned()) };
    let of = |percentage: Expr| {
        let mut function = function.clone();
        let mut inner = args.clone();
        inner.push(percentage);
        set_args(&mut function, "approx_percentile", inner);
        Expr::Function(function)
    };
    Ok(match percentages {
        Expr::Array(array) => call("make_array", array.elem.into_iter().map(of).collect()),
        percentage => of(percentage),
    })
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(nested(expr)) }
}

fn double(written: &str) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(text(written)),
        data_type: ast::DataType::DoublePrecision,
        array: false,
        format: None,
    }
}
