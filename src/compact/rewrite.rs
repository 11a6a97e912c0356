//! What a promotion invalidates: files of earlier runs that hold a column under a narrower type are written again.
//!
//! The values come from the Parquet files; where the raw text is not determined by them (a double's digits, a time's
//! notation), they get the canonical text (see [`crate::json::convert()`]).

use crate::error::{Context as _, Result};
use crate::json::{arrow_schema, reshape};
use crate::lake::{ActiveFile, Hidden, StoredFile};
use crate::schema::{Field, Type};
use crate::write::{DataFile, WriteContext, is_part_of, write_file};

/// Whether the types of `before` must change for a table of columns `after`.
pub(super) fn is_promoted(before: &[Field], after: &[Field]) -> bool {
    !is_part_of(&without_keys(before), &without_keys(after))
}

/// Writes `file` again when it holds a column of another type than `after` gives it. Blocks.
///
/// # Errors
/// When the file cannot be read or written, or its columns are not those of the table.
pub(super) fn rewrite(
    file: &ActiveFile,
    before: &[Field],
    after: &[Field],
    context: &WriteContext,
    hidden: &Hidden,
    path: String,
) -> Result<Option<DataFile>> {
    let bytes = context.runtime.block_on(hidden.read(&file.path))?;
    let stored = StoredFile::open(&file.path, bytes, before)?;
    let wanted = matching(&stored.fields, after);
    if is_part_of(&without_keys(&stored.fields), &without_keys(&wanted)) && stored.fields.len() == wanted.len() {
        return Ok(None);
    }
    let schema = arrow_schema(&wanted);
    let held = stored.fields.clone();
    let wide = stored.map(|batch| {
        reshape(&batch?, &held, &wanted, &schema).context(|| format!("cannot widen the columns of {}", file.path))
    });
    write_file(context, path, file.partition.clone(), &wanted, wide).map(Some)
}

/// What the columns `held` become in a table of columns `after`.
fn matching(held: &[Field], after: &[Field]) -> Vec<Field> {
    held.iter()
        .filter_map(|mine| {
            let theirs = after.iter().find(|field| field.name == mine.name)?;
            Some(Field { ty: matching_type(&mine.ty, &theirs.ty), ..theirs.clone() })
        })
        .collect()
}

fn matching_type(held: &Type, after: &Type) -> Type {
    match (held, after) {
        (Type::Struct(held), Type::Struct(after)) => Type::Struct(matching(held, after)),
        (Type::List(held), Type::List(after)) => Type::List(Box::new(matching_type(held, after))),
        (_, after) => after.clone(),
    }
}

fn without_keys(fields: &[Field]) -> Vec<Field> {
    fields.iter().map(|field| Field { keys: Vec::new(), ty: without_keys_below(&field.ty), ..field.clone() }).collect()
}

fn without_keys_below(ty: &Type) -> Type {
    match ty {
        Type::Struct(fields) => Type::Struct(without_keys(fields)),
        Type::List(element) => Type::List(Box::new(without_keys_below(element))),
        Type::Map(value) => Type::Map(Box::new(without_keys_below(value))),
        other => other.clone(),
    }
}
