//! `CROSS JOIN UNNEST(t.items) AS x(a) WITH ORDINALITY`: arrays of the relations before it become rows beside them.
//!
//! DataFusion plans relations one by one, and UNNEST without the relations before it. So the statement is rewritten
//! first: `a, b CROSS JOIN UNNEST(e) x JOIN c` becomes `((a, b) CROSS JOIN UNNEST(e) x) JOIN c`, and the planner below
//! takes such a pair of parentheses.

use arrow::datatypes::DataType;
use datafusion::common::{Column, NullHandling, TableReference, UnnestOptions};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions_nested::expr_fn::map_entries;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    self, Join, JoinConstraint, JoinOperator, TableAlias, TableFactor, TableWithJoins, Value,
};

use super::arrays::ordinals;

/// Puts what stands before each UNNEST into parentheses with it.
pub(super) fn nest(from: &mut Vec<TableWithJoins>) {
    let mut out: Vec<TableWithJoins> = Vec::with_capacity(from.len());
    for mut tables in std::mem::take(from) {
        if is_unnest(&tables.relation) && !out.is_empty() {
            let join = Join {
                relation: tables.relation,
                global: false,
                join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
            };
            tables.relation = pair(cross(std::mem::take(&mut out)), join);
        }
        out.push(nest_joins(tables));
    }
    *from = out;
}

fn nest_joins(tables: TableWithJoins) -> TableWithJoins {
    let mut left = TableWithJoins { relation: nest_inside(tables.relation), joins: Vec::new() };
    for mut join in tables.joins {
        if is_unnest(&join.relation) {
            left = TableWithJoins { relation: pair(left, join), joins: Vec::new() };
        } else {
            join.relation = nest_inside(join.relation);
            left.joins.push(join);
        }
    }
    left
}

fn nest_inside(relation: TableFactor) -> TableFactor {
    match relation {
        TableFactor::NestedJoin { table_with_joins, alias } if !is_pair(&table_with_joins) => {
            TableFactor::NestedJoin { table_with_joins: Box::new(nest_joins(*table_with_joins)), alias }
        }
        other => other,
    }
}

fn pair(left: TableWithJoins, join: Join) -> TableFactor {
    let relation = if left.joins.is_empty() { left.relation } else { parentheses(left) };
    parentheses(TableWithJoins { relation, joins: vec![join] })
}

fn parentheses(tables: TableWithJoins) -> TableFactor {
    TableFactor::NestedJoin { table_with_joins: Box::new(tables), alias: None }
}

/// The relations of a list with commas as one.
fn cross(tables: Vec<TableWithJoins>) -> TableWithJoins {
    let mut tables =
        tables.into_iter().map(|tables| if tables.joins.is_empty() { tables.relation } else { parentheses(tables) });
    let first = tables.next();
    let joins = tables
        .map(|relation| Join { relation, global: false, join_operator: JoinOperator::CrossJoin(JoinConstraint::None) })
        .collect();
    // There is always a first one; an empty UNNEST is refused when it is planned.
    let none = TableFactor::UNNEST {
        alias: None,
        array_exprs: Vec::new(),
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    };
    TableWithJoins { relation: first.unwrap_or(none), joins }
}

fn is_unnest(relation: &TableFactor) -> bool {
    matches!(relation, TableFactor::UNNEST { .. })
}

fn is_pair(tables: &TableWithJoins) -> bool {
    matches!(tables.joins.as_slice(), [join] if is_unnest(&join.relation))
}

/// Plans UNNEST, alone or with what stands before it.
#[derive(Debug)]
pub(super) struct UnnestPlanner;

impl RelationPlanner for UnnestPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (left, relation, is_outer) = match relation {
            TableFactor::NestedJoin { table_with_joins, alias: None } if is_pair(&table_with_joins) => {
                let TableWithJoins { relation: left, mut joins } = *table_with_joins;
                let Some(join) = joins.pop() else { return Err(wrong("UNNEST without a join")) };
                let is_outer = is_outer(&join.join_operator)?;
                (context.plan(left)?, join.relation, is_outer)
            }
            relation @ TableFactor::UNNEST { .. } => (LogicalPlanBuilder::empty(true).build()?, relation, false),
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        let plan = plan_unnest(left, relation, is_outer, context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))))
    }
}

fn wrong(message: impl Into<String>) -> DataFusionError {
    DataFusionError::Plan(message.into())
}

/// Whether rows without elements stay.
fn is_outer(operator: &JoinOperator) -> Result<bool> {
    let is_true = |constraint: &JoinConstraint| match constraint {
        JoinConstraint::On(ast::Expr::Value(value)) => value.value == Value::Boolean(true),
        _ => false,
    };
    match operator {
        JoinOperator::CrossJoin(JoinConstraint::None) => Ok(false),
        JoinOperator::Join(on) | JoinOperator::Inner(on) if is_true(on) => Ok(false),
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) if is_true(on) => Ok(true),
        _ => Err(wrong("UNNEST takes CROSS JOIN, or JOIN and LEFT JOIN with ON TRUE")),
    }
}

fn plan_unnest(
    left: LogicalPlan,
    relation: TableFactor,
    is_outer: bool,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let TableFactor::UNNEST { alias, array_exprs, with_ordinality, with_offset: false, .. } = relation else {
        return Err(wrong("UNNEST takes WITH ORDINALITY, not WITH OFFSET"));
    };
    let schema = left.schema();
    let (mut lists, mut maps) = (Vec::new(), Vec::new());
    for array in array_exprs {
        let expr = context.sql_to_expr(array, schema)?;
        let data_type = expr.get_type(schema)?;
        maps.push(matches!(data_type, DataType::Map(..)));
        match &data_type {
            DataType::Map(..) => lists.push(map_entries(expr)),
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => lists.push(expr),
            other => {
                return Err(wrong(format!("UNNEST takes arrays and maps, not {}", super::types::type_name(other))));
            }
        }
    }
    if lists.is_empty() {
        return Err(wrong("UNNEST takes at least one array"));
    }
    let (mut outputs, mut whole) = (Vec::new(), Vec::new());
    for (index, list) in lists.iter().enumerate() {
        let column = format!("__unnest_{index}");
        let of_list = outputs_of(&column, &list.get_type(schema)?);
        match maps[index] {
            true => whole.extend(of_list.iter().cloned()),
            false => whole.push((Expr::Column(Column::from_name(column)), "element".to_owned())),
        }
        outputs.extend(of_list);
    }
    if with_ordinality {
        lists.push(ordinals(lists.clone()));
        let column = Column::from_name(format!("__unnest_{}", lists.len() - 1));
        for outputs in [&mut outputs, &mut whole] {
            outputs.push((Expr::Column(column.clone()), "ordinality".into()));
        }
    }
    // In Athena one name for an array of rows is that of the row.
    if alias.as_ref().is_some_and(|alias| alias.columns.len() == whole.len()) {
        outputs = whole;
    }
    let before: Vec<Expr> = schema.iter().map(|(table, field)| Expr::from((table, field))).collect();
    let names: Vec<Column> = (0..lists.len()).map(|index| Column::from_name(format!("__unnest_{index}"))).collect();
    let arrays = lists.into_iter().zip(&names).map(|(list, column)| list.alias(&column.name));
    let handling = if is_outer { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
    let renamed = rename(outputs, alias, context)?;
    LogicalPlanBuilder::from(left)
        .project(before.iter().cloned().chain(arrays))?
        .unnest_columns_with_options(names, UnnestOptions::new().with_null_handling(handling))?
        .project(before.into_iter().chain(renamed))?
        .build()
}

/// The columns that elements of a list become: the fields of rows, or one.
fn outputs_of(column: &str, list: &DataType) -> Vec<(Expr, String)> {
    let element = Expr::Column(Column::from_name(column));
    let (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) = list else {
        return vec![(element, "element".to_owned())];
    };
    match item.data_type() {
        DataType::Struct(fields) => fields
            .iter()
            .map(|field| (get_field(element.clone(), field.name().as_str()), field.name().clone()))
            .collect(),
        _ => vec![(element, "element".to_owned())],
    }
}

/// Gives the columns the names of `AS x(a, b)`.
fn rename(
    outputs: Vec<(Expr, String)>,
    alias: Option<TableAlias>,
    context: &dyn RelationPlannerContext,
) -> Result<Vec<Expr>> {
    let Some(alias) = alias else {
        return Ok(outputs.into_iter().map(|(expr, name)| expr.alias(name)).collect());
    };
    let names: Vec<String> = alias.columns.into_iter().map(|column| context.normalize_ident(column.name)).collect();
    if !names.is_empty() && names.len() != outputs.len() {
        let (given, found) = (names.len(), outputs.len());
        return Err(wrong(format!("UNNEST gives {found} columns, but {given} names were given")));
    }
    let table = TableReference::bare(context.normalize_ident(alias.name));
    let mut names = names.into_iter();
    Ok(outputs
        .into_iter()
        .map(|(expr, name)| expr.alias_qualified(Some(table.clone()), names.next().unwrap_or(name)))
        .collect())
}
