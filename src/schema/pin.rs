//! What a commit makes of an observation: the names of the columns stay with their keys.

use super::{Field, Observation, Type};

/// Writes the names of columns into an observation, and makes what became a map a dictionary for good.
pub fn pin(observed: &mut Observation, fields: &[Field]) {
    leave_rows_behind(observed, fields);
    for field in fields {
        for key in &field.keys {
            if let Some(seen) = observed.fields.get_mut(key) {
                seen.column = Some(field.name.clone());
                pin_type(seen, &field.ty);
            }
        }
    }
}

fn pin_type(seen: &mut Observation, ty: &Type) {
    match ty {
        Type::Struct(fields) => pin(seen, fields),
        Type::List(element) => {
            if let Some(below) = seen.element.as_deref_mut() {
                pin_type(below, element);
            }
        }
        Type::Map(value) => {
            seen.collapse();
            if let Some(below) = seen.dictionary.as_deref_mut() {
                pin_type(below, value);
            }
        }
        _ => {}
    }
}

/// A key that gets a column of its own leaves rows in the one that it shared. The key that keeps that column is from now
/// on taken to have had these values too, or the column would become narrower than its rows.
fn leave_rows_behind(observed: &mut Observation, fields: &[Field]) {
    let mut left = Vec::new();
    for field in fields {
        for seen in field.keys.iter().filter_map(|key| observed.fields.get(key)) {
            let shared = seen.column.as_ref().filter(|before| **before != field.name);
            let keeper = shared.and_then(|before| fields.iter().find(|other| other.name == *before));
            if let Some(key) = keeper.and_then(|keeper| keeper.keys.first()) {
                left.push((key, Observation { column: None, ..seen.clone() }));
            }
        }
    }
    for (key, seen) in left {
        if let Some(keeper) = observed.fields.get_mut(key) {
            keeper.merge_below(&seen);
        }
    }
}
