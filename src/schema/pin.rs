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

/// A key that gets a column of its own leaves values in the one that it shared, whose type must go on holding them.
fn leave_rows_behind(observed: &mut Observation, fields: &[Field]) {
    let left_behind = |(key, seen): (&String, &Observation)| {
        let shared = fields.iter().find(|field| seen.column.as_ref() == Some(&field.name))?;
        if shared.keys.contains(key) {
            return None;
        }
        // All keys of the column may stand below another spelling of this object's key alone.
        let heir = shared.keys.iter().find(|key| observed.fields.contains_key(*key)).or(shared.keys.first())?;
        Some((heir.clone(), Observation { column: None, ..seen.clone() }))
    };
    let left: Vec<_> = observed.fields.iter().filter_map(left_behind).collect();
    for (heir, seen) in left {
        observed.fields.entry(heir).or_default().merge_below(&seen);
    }
}
