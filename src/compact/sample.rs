//! One value of each kind that a column was seen to hold, read from the first raw object that has it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::array::{ArrayRef, AsArray};

use crate::json::{DecodeOptions, Decoder, arrow_schema, kind_of};
use crate::raw::{Feed, Fetcher, Limits, RawObject, decode_objects};
use crate::schema::{Contract, Field, Forced, Kind, Observation, Rule, Step, Type, resolve_ruled};

/// The JSON text of one value of each of `kinds` below `steps`, from `object`. `known` is what was observed of the source.
/// Kinds that the object no longer has (or that cannot be read) are missing. Blocks.
pub fn sample_kinds(
    fetcher: &Fetcher,
    object: &RawObject,
    (decode, limits): (&DecodeOptions, &Limits),
    known: &Observation,
    steps: &[Step],
    kinds: &[Kind],
) -> BTreeMap<Kind, String> {
    // As JSON text, each value stays as it stands.
    let mut rule = Rule::default();
    steps.iter().fold(&mut rule, |rule, step| rule.below(step)).ty = Some(Forced::Json);
    let options = DecodeOptions { rule, contract: Contract::Evolve, ..decode.clone() };
    let mut decoder = Decoder::new(&options, known);
    let mut found = BTreeMap::new();
    let objects = std::slice::from_ref(object);
    let feed = Feed::new(fetcher, objects, limits.clone());
    decode_objects(feed, &options, &mut decoder, |decoder, decoded| {
        let mut seen = known.clone();
        seen.merge(&decoder.observe());
        let fields: Vec<Field> = resolve_ruled(&seen, &[], &options.rule);
        if decoded.rows > 0
            && let Ok(batch) = decoder.finish(&fields, &arrow_schema(&fields))
        {
            collect(&fields, batch.columns(), steps, &mut |text| {
                if let Some(kind) = kind_of(text).filter(|kind| kinds.contains(kind)) {
                    found.entry(kind).or_insert_with(|| text.to_owned());
                }
            });
        }
        if found.len() == kinds.len() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}

fn collect(fields: &[Field], columns: &[ArrayRef], steps: &[Step], visit: &mut impl FnMut(&str)) {
    let Some((Step::Key(key), rest)) = steps.split_first() else { return };
    for (field, column) in fields.iter().zip(columns).filter(|(field, _)| field.keys.contains(key)) {
        collect_below(&field.ty, column, rest, visit);
    }
}

fn collect_below(ty: &Type, array: &ArrayRef, steps: &[Step], visit: &mut impl FnMut(&str)) {
    match (ty, steps.split_first()) {
        (Type::Json, None) => array.as_string::<i32>().iter().flatten().for_each(visit),
        (Type::List(element), Some((Step::Element, rest))) => {
            collect_below(element, array.as_list::<i32>().values(), rest, visit);
        }
        (Type::Map(value), Some((Step::Value, rest))) => collect_below(value, array.as_map().values(), rest, visit),
        (Type::Struct(fields), Some((Step::Key(_), _))) => collect(fields, array.as_struct().columns(), steps, visit),
        _ => {}
    }
}
