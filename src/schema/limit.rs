//! The most columns a table may have: past it, objects of many keys are kept whole.
//!
//! The widest object (most leaves directly under it) gives way first, again and again until the table is narrow enough:
//! an object below the record becomes a map; of the records themselves, the keys that came last go into one column of JSON
//! text (see [`Observation::overflow`]). Both are for good. Columns that a table has already stay.

use std::collections::BTreeSet;

use super::observation::Observation;
use super::resolve::{Field, Type, resolve_ruled};
use super::rules::Rule;

/// What the keys of an envelope's members begin with. These have columns because somebody asked for them.
pub const MEMBER_PREFIX: &str = "envelope.";

/// How many columns (leaves) these are.
pub fn leaves(fields: &[Field]) -> usize {
    fields.iter().map(|field| leaves_of(&field.ty)).sum()
}

fn leaves_of(ty: &Type) -> usize {
    match ty {
        Type::Struct(fields) => leaves(fields),
        Type::List(element) => leaves_of(element),
        Type::Map(value) => 1 + leaves_of(value),
        _ => 1,
    }
}

/// Makes objects in `observed` give way until its columns are `max` leaves at most, as far as that goes.
pub fn limit_columns(observed: &mut Observation, reserved: &[String], rule: &Rule, max: usize) {
    loop {
        let fields = resolve_ruled(observed, reserved, rule);
        let all = leaves(&fields);
        if all <= max {
            return;
        }
        let mut widest = Widest { leaves: fresh(observed, &fields).count(), steps: None };
        find_widest(&fields, &mut Vec::new(), &mut widest);
        match widest {
            Widest { steps: Some(steps), .. } => collapse_at(&mut [observed], &steps),
            Widest { leaves: 0, .. } => return,
            Widest { .. } => overflow(observed, &fields, max.saturating_sub(1 + all - direct(&fields))),
        }
    }
}

/// The object with the most leaves directly under it.
struct Widest {
    leaves: usize,
    /// How to come to it; `None`: it is the record.
    steps: Option<Vec<Step>>,
}

#[derive(Clone)]
enum Step {
    Keys(Vec<String>),
    Element,
    Value,
}

fn direct(fields: &[Field]) -> usize {
    fields.iter().filter(|field| is_leaf(field)).count()
}

fn is_leaf(field: &Field) -> bool {
    !matches!(below_lists(&field.ty), Type::Struct(_))
}

/// The record's columns that are leaves, that no table has yet, and that may give way.
fn fresh<'a>(observed: &'a Observation, fields: &'a [Field]) -> impl Iterator<Item = &'a Field> {
    let is_committed = |field: &Field| {
        field.keys.iter().any(|key| observed.fields[key].column.is_some() || key.starts_with(MEMBER_PREFIX))
    };
    fields.iter().filter(move |field| is_leaf(field) && !field.keys.is_empty() && !is_committed(field))
}

fn below_lists(ty: &Type) -> &Type {
    match ty {
        Type::List(element) => below_lists(element),
        other => other,
    }
}

fn find_widest(fields: &[Field], steps: &mut Vec<Step>, widest: &mut Widest) {
    for field in fields {
        let depth = steps.len();
        steps.push(Step::Keys(field.keys.clone()));
        let mut ty = &field.ty;
        while let Type::List(inner) | Type::Map(inner) = ty {
            steps.push(if matches!(ty, Type::List(_)) { Step::Element } else { Step::Value });
            ty = inner;
        }
        if let Type::Struct(inner) = ty {
            if direct(inner) > widest.leaves {
                *widest = Widest { leaves: direct(inner), steps: Some(steps.clone()) };
            }
            find_widest(inner, steps, widest);
        }
        steps.truncate(depth);
    }
}

fn collapse_at(seen: &mut [&mut Observation], steps: &[Step]) {
    let Some((step, rest)) = steps.split_first() else {
        seen.iter_mut().for_each(|object| object.collapse());
        return;
    };
    for object in seen {
        match step {
            Step::Keys(keys) => {
                for (_, below) in object.fields.iter_mut().filter(|(key, _)| keys.contains(key)) {
                    collapse_at(&mut [below], rest);
                }
            }
            Step::Element => object.element.iter_mut().for_each(|below| collapse_at(&mut [below], rest)),
            Step::Value => {
                // Under another key of the same column it may be an object of few keys yet.
                if !object.fields.is_empty() {
                    object.collapse();
                }
                object.dictionary.iter_mut().for_each(|below| collapse_at(&mut [below], rest));
            }
        }
    }
}

/// Keeps `keep` of the record's columns that are leaves (those that a table has, then those that came first), and its objects.
fn overflow(observed: &mut Observation, fields: &[Field], keep: usize) {
    let leaves = fields.iter().filter(|field| is_leaf(field) && !field.keys.is_empty()).count();
    let committed = leaves - fresh(observed, fields).count();
    let dropped: BTreeSet<&String> =
        fresh(observed, fields).skip(keep.saturating_sub(committed)).flat_map(|field| &field.keys).collect();
    let kept: BTreeSet<String> =
        fields.iter().flat_map(|field| &field.keys).filter(|key| !dropped.contains(key)).cloned().collect();
    observed.fields.retain(|key, _| kept.contains(key));
    observed.overflow = true;
}
