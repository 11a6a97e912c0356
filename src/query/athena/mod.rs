//! Athena's dialect: statements that Athena runs (its engine is Trino's), run by DataFusion.
//!
//! ```text
//! text --syntax--> statement --rewrite, unnest--> statement --DataFusion's planner, with our functions and types--> plan
//! ```
//!
//! Where DataFusion has another function under a name, Athena's takes its place.

mod aggregates;
mod arrays;
mod casts;
mod dates;
mod function;
mod json;
mod lambdas;
mod maps;
mod paths;
mod regexps;
mod rewrite;
mod strings;
mod syntax;
mod types;
mod unnest;
mod urls;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;

/// Teaches a session the types, functions and relations of the dialect.
///
/// # Errors
/// When the session refuses one of them.
pub(super) fn register(builder: SessionStateBuilder) -> Result<SessionContext> {
    let context = SessionContext::new_with_state(builder.with_type_planner(Arc::new(types::AthenaTypes)).build());
    let scalar = [
        arrays::functions(),
        casts::functions(),
        dates::functions(),
        json::functions(),
        maps::functions(),
        regexps::functions(),
        strings::functions(),
        urls::functions(),
    ];
    scalar.into_iter().flatten().for_each(|function| context.register_udf(function));
    aggregates::functions().into_iter().for_each(|function| context.register_udaf(function));
    lambdas::functions().into_iter().for_each(|function| context.register_higher_order_function(function));
    context.register_relation_planner(Arc::new(unnest::UnnestPlanner))?;
    Ok(context)
}

/// Parses statements and writes them as DataFusion plans them.
///
/// # Errors
/// When the text is no SQL.
pub(super) fn parse(sql: &str) -> Result<Vec<Statement>> {
    let mut statements = syntax::parse(sql)?;
    statements.iter_mut().try_for_each(rewrite::rewrite)?;
    Ok(statements)
}
