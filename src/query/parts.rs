//! Which parts of a column are wanted: all, or some fields of a struct, each in part.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::PhysicalExpr;

use crate::schema::{Field, Type};

/// The function that takes a field of a struct.
const GET_FIELD: &str = "get_field";

/// A part of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    All,
    /// Of a struct, these fields by their names.
    Fields(BTreeMap<String, Part>),
}

impl Default for Part {
    /// Nothing of it.
    fn default() -> Self {
        Self::Fields(BTreeMap::new())
    }
}

impl Part {
    /// Adds the field at a path (all of the column, when that is empty), of which `part` is wanted.
    pub(super) fn add(&mut self, path: &[String], part: &Self) {
        let Self::Fields(fields) = self else { return };
        match (path.split_first(), part) {
            (Some((first, rest)), part) => fields.entry(first.clone()).or_default().add(rest, part),
            (None, Self::All) => *self = Self::All,
            (None, Self::Fields(others)) => {
                for (name, part) in others {
                    fields.entry(name.clone()).or_default().add(&[], part);
                }
            }
        }
    }

    /// Whether all of `other` is in it.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Fields(_), Self::All) => false,
            (Self::Fields(fields), Self::Fields(others)) => {
                others.iter().all(|(name, part)| fields.get(name).is_some_and(|own| own.covers(part)))
            }
        }
    }

    /// The column of which only this part is there.
    pub(super) fn of(&self, field: &Field) -> Field {
        let ty = match (&field.ty, self) {
            (Type::Struct(fields), Self::Fields(wanted)) => {
                let kept = fields.iter().filter_map(|field| Some(wanted.get(&field.name)?.of(field)));
                Type::Struct(kept.collect())
            }
            (ty, _) => ty.clone(),
        };
        Field { ty, ..field.clone() }
    }

    /// The paths of what is wanted of a column, for people.
    pub(super) fn paths(&self, name: &str, out: &mut Vec<String>) {
        match self {
            Self::Fields(fields) if !fields.is_empty() => {
                fields.iter().for_each(|(field, part)| part.paths(&format!("{name}.{field}"), out));
            }
            _ => out.push(name.to_owned()),
        }
    }
}

fn text(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => text.clone(),
        _ => None,
    }
}

/// The expression that fields are taken of, and their path; `None` when it is no such expression.
pub(super) fn field_path(expr: &Expr) -> Option<(&Expr, Vec<String>)> {
    let Expr::ScalarFunction(function) = expr else { return None };
    let (of, names) = function.args.split_first().filter(|_| function.func.name() == GET_FIELD)?;
    let name = |arg: &Expr| match arg {
        Expr::Literal(value, _) => text(value),
        _ => None,
    };
    let mut names: Vec<String> = names.iter().map(name).collect::<Option<_>>()?;
    match field_path(of) {
        Some((of, mut path)) => {
            path.append(&mut names);
            Some((of, path))
        }
        None => Some((of, names)),
    }
}

fn physical_field_path(expr: &Arc<dyn PhysicalExpr>) -> Option<(Arc<dyn PhysicalExpr>, Vec<String>)> {
    let function = expr.downcast_ref::<ScalarFunctionExpr>().filter(|function| function.name() == GET_FIELD)?;
    let (of, names) = function.args().split_first()?;
    let name = |arg: &Arc<dyn PhysicalExpr>| text(arg.downcast_ref::<Literal>()?.value());
    let mut names: Vec<String> = names.iter().map(name).collect::<Option<_>>()?;
    match physical_field_path(of) {
        Some((of, mut path)) => {
            path.append(&mut names);
            Some((of, path))
        }
        None => Some((Arc::clone(of), names)),
    }
}

/// The parts of columns, by their numbers, that an expression is made of.
pub(super) fn parts_of(expr: &Arc<dyn PhysicalExpr>, parts: &mut BTreeMap<usize, Part>) -> Result<()> {
    expr.apply(|expr| {
        if let Some((of, path)) = physical_field_path(expr)
            && let Some(column) = of.downcast_ref::<Column>()
        {
            parts.entry(column.index()).or_default().add(&path, &Part::All);
            return Ok(TreeNodeRecursion::Jump);
        }
        if let Some(column) = expr.downcast_ref::<Column>() {
            parts.entry(column.index()).or_default().add(&[], &Part::All);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}
