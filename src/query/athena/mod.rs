//! Athena's dialect: statements that Athena runs (its engine is Trino's), run by DataFusion.
//!
//! ```text
//! text --syntax--> statement --rewrite, unnest--> statement --DataFusion's planner, with our functions and types--> plan
//! ```
//!
//! Where DataFusion has another function under a name, Athena's takes its place.

mod addresses;
mod aggregates;
mod arithmetic;
mod arrangements;
mod arrays;
mod binary;
mod calls;
mod casts;
mod dates;
mod format;
mod function;
mod guards;
mod intervals;
mod joins;
mod json;
mod lambdas;
mod laterals;
mod maps;
mod math;
mod meanings;
mod measures;
mod numbers;
mod paths;
mod regexps;
mod rewrite;
mod show;
mod strings;
mod subqueries;
mod subscripts;
mod syntax;
mod twins;
mod types;
mod unnest;
mod urls;
mod versions;
mod windows;

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::Analyzer;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;

#[cfg(feature = "postgres")]
pub(super) use rewrite::{call, take, text};
pub(super) use show::{Shown, asked_to_show};
pub(super) use types::type_name;
pub(super) use versions::{AsOf, asked_for, name_versions};

/// Teaches a session the types, functions and relations of the dialect.
///
/// # Errors
/// When the session refuses one of them.
pub(super) fn register(builder: SessionStateBuilder) -> Result<SessionContext> {
    let mut rules = Analyzer::new().rules;
    rules.insert(0, Arc::new(subqueries::Subqueries));
    rules.insert(1, Arc::new(intervals::OrderedWindows));
    rules.insert(2, Arc::new(numbers::MixedNumbers));
    rules.push(Arc::new(arithmetic::Arithmetic));
    let mut builder = builder.with_type_planner(Arc::new(types::AthenaTypes)).with_analyzer_rules(rules);
    let planners = builder.expr_planners().get_or_insert_default();
    planners.insert(0, Arc::new(subscripts::MapSubscripts));
    // Before the engine's own, which takes `||`.
    planners.insert(0, Arc::new(numbers::NumberPlanner));
    planners.push(Arc::new(intervals::IntervalPlanner));
    let context = SessionContext::new_with_state(builder.build());
    let scalar = [
        addresses::functions(),
        arithmetic::functions(),
        arrangements::functions(),
        arrays::functions(),
        binary::functions(),
        casts::functions(),
        dates::functions(),
        format::functions(),
        intervals::functions(),
        json::functions(),
        maps::functions(),
        math::functions(),
        measures::functions(),
        regexps::functions(),
        show::functions().into(),
        strings::functions(),
        urls::functions(),
    ];
    scalar.into_iter().flatten().for_each(|function| context.register_udf(function));
    aggregates::functions().into_iter().for_each(|function| context.register_udaf(function));
    lambdas::functions().into_iter().for_each(|function| context.register_higher_order_function(function));
    context.register_relation_planner(Arc::new(unnest::UnnestPlanner))?;
    Ok(context)
}

/// Parses statements.
///
/// # Errors
/// When the text is no SQL.
pub(super) fn parse(sql: &str) -> Result<Vec<Statement>> {
    syntax::parse(sql)
}

/// Writes a statement as DataFusion plans it.
///
/// # Errors
/// When a function is given arguments that it does not take.
pub(super) fn rewrite(statement: &mut Statement) -> Result<()> {
    rewrite::rewrite(statement)
}

/// Has a planned query give the columns that Athena gives: some with the name of another, and intervals as text.
///
/// # Errors
/// Never, for all of these columns are there.
pub(super) fn finish(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns = twins::columns_again(&plan).into_iter().zip(plan.schema().fields());
    let finish = |(column, field): (Expr, &FieldRef)| match intervals::is_interval(field.data_type()) {
        true => intervals::as_text(column),
        false => column,
    };
    let finished: Vec<Expr> = columns.map(finish).collect();
    let is_same = finished.iter().all(|expr| matches!(expr, Expr::Column(_)));
    if is_same { Ok(plan) } else { LogicalPlanBuilder::from(plan).project(finished)?.build() }
}
