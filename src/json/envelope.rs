//! Finding the array of records in an envelope.
//!
//! An object is an envelope when its records lie in one array of objects:
//! 1. under a known name ([`KNOWN_NAMES`]) at the top or one level down (`data.items`), if there is one such array;
//! 2. else in its only array of objects, if all other members are scalars.
//!
//! An object that does not stand alone (NDJSON, values one after another) is a record.

use super::scan::{FaultAt, Window};

/// Names under which APIs put their records.
pub const KNOWN_NAMES: [&str; 13] = [
    "Records", "records", "items", "data", "results", "features", "objects", "value", "values", "events", "rows",
    "entries", "Items",
];

/// Nesting is not followed deeper than this when members are passed over.
const MAX_DEPTH: usize = 128;

/// What the first bytes of a raw object tell about its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// One object with its records at a path of keys.
    Envelope(Vec<String>),
    /// One object that is a record, or several.
    Record,
    /// Anything else: arrays, nothing.
    Other,
}

/// Tells the shape of a raw object by its first bytes.
///
/// `bytes` end in [`PADDING`](super::PADDING) zero bytes; `complete` says that nothing follows.
///
/// # Panics
/// When the padding is missing.
pub fn shape(bytes: &[u8], complete: bool) -> Shape {
    let window = Window::new(bytes);
    let start = window.skip_space(if window.starts_with(0, b"\xef\xbb\xbf") { 3 } else { 0 });
    if window.byte(start) != b'{' {
        return Shape::Other;
    }
    let mut found = Found::default();
    match members(&window, start, &mut Vec::new(), &mut found) {
        Ok(end) if window.byte(window.skip_space(end)) == b'{' => Shape::Record,
        Ok(end) if window.skip_space(end) < window.len() || !complete => Shape::Other,
        Ok(_) => found.path(true).map_or(Shape::Record, Shape::Envelope),
        // Cut off: a known name is enough, an unknown one may be one of several.
        Err(_) if !complete => found.path(false).map_or(Shape::Other, Shape::Envelope),
        Err(_) => Shape::Other,
    }
}

/// The path that most of the objects have, of those that are objects of JSON.
pub fn agreed_path(shapes: &[Shape]) -> Vec<String> {
    let objects = shapes.iter().filter(|shape| **shape != Shape::Other).count();
    let mut paths: Vec<&Vec<String>> =
        shapes.iter().filter_map(|shape| if let Shape::Envelope(path) = shape { Some(path) } else { None }).collect();
    paths.sort();
    let most = paths.chunk_by(|a, b| a == b).max_by_key(|same| same.len());
    most.filter(|same| same.len() * 2 > objects).map(|same| same[0].clone()).unwrap_or_default()
}

/// The arrays that may hold the records.
#[derive(Default)]
struct Found {
    known: Vec<Vec<String>>,
    arrays_of_objects: Vec<Vec<String>>,
    other_containers: usize,
}

impl Found {
    fn path(mut self, complete: bool) -> Option<Vec<String>> {
        match (self.known.len(), self.arrays_of_objects.len()) {
            (1, _) => self.known.pop(),
            (0, 1) if complete && self.other_containers == 0 => self.arrays_of_objects.pop(),
            _ => None,
        }
    }
}

/// Passes over the members of the object at `at`, at most one level down, and returns its end.
fn members(window: &Window<'_>, at: usize, path: &mut Vec<String>, found: &mut Found) -> Result<usize, FaultAt> {
    let mut at = window.skip_space(at + 1);
    if window.byte(at) == b'}' {
        return Ok(at + 1);
    }
    loop {
        let (key_end, value) = window.key_end(at)?;
        let mut key = Vec::new();
        window.unescape(at, key_end, &mut key)?;
        let key = String::from_utf8_lossy(&key).into_owned();
        let is_known = KNOWN_NAMES.contains(&key.as_str());
        path.push(key);
        let end = match window.byte(value) {
            b'[' => {
                match (window.byte(window.skip_space(value + 1)), is_known) {
                    (b'{', true) | (b']', true) => found.known.push(path.clone()),
                    (b'{', false) if path.len() == 1 => found.arrays_of_objects.push(path.clone()),
                    _ if path.len() == 1 => found.other_containers += 1,
                    _ => {}
                }
                window.value_end(value, 0, MAX_DEPTH)?
            }
            b'{' if path.len() == 1 => {
                found.other_containers += 1;
                members(window, value, path, found)?
            }
            _ => window.value_end(value, 0, MAX_DEPTH)?,
        };
        path.pop();
        at = window.skip_space(end);
        match window.byte(at) {
            b',' => at = window.skip_space(at + 1),
            b'}' => return Ok(at + 1),
            _ => return Err(window.fault(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::PADDING;

    fn of(text: &str, complete: bool) -> Shape {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len() + PADDING, 0);
        shape(&bytes, complete)
    }

    fn envelope(path: &[&str]) -> Shape {
        Shape::Envelope(path.iter().map(|key| (*key).to_owned()).collect())
    }

    #[test]
    fn known_names_are_found_at_the_top_and_one_level_down() {
        assert_eq!(of(r#"{"Records": [{"a": 1}]}"#, true), envelope(&["Records"]));
        assert_eq!(of(r#"{"status": {}, "data": {"items": [], "n": 0}}"#, true), envelope(&["data", "items"]));
        assert_eq!(
            of(r#"{"type": "FeatureCollection", "metadata": {"n": 1}, "features": [{}], "bbox": [1]}"#, true),
            envelope(&["features"])
        );
    }

    #[test]
    fn names_are_compared_by_what_they_spell() {
        assert_eq!(of("\u{feff} {\"it\\u0065ms\": []}", true), envelope(&["items"]));
        assert_eq!(of(r#"{"gr\u00f6\u00dfen": [{"a": 1}]}"#, true), envelope(&["größen"]));
    }

    #[test]
    fn what_is_no_json_has_no_shape() {
        for text in [
            "",
            "{",
            "{\"items\": [{}]",
            "{\"items\": [{}],}",
            "{\"items\": [{}] \"n\": 1}",
            "{\"n\": x, \"items\": []}",
        ] {
            assert_eq!(of(text, true), Shape::Other, "{text}");
        }
    }

    #[test]
    fn any_name_is_taken_when_all_else_is_scalar() {
        assert_eq!(of(r#"{"n": 1, "orders": [{"a": 1}], "next": null}"#, true), envelope(&["orders"]));
        assert_eq!(of(r#"{"n": [1], "orders": [{"a": 1}]}"#, true), Shape::Record);
        assert_eq!(of(r#"{"n": {}, "orders": [{"a": 1}]}"#, true), Shape::Record);
        assert_eq!(of(r#"{"lines": [{"a": 1}], "orders": [{"a": 1}]}"#, true), Shape::Record);
    }

    #[test]
    fn several_known_arrays_or_several_values_are_no_envelope() {
        assert_eq!(of(r#"{"items": [{}], "results": [{}]}"#, true), Shape::Record);
        assert_eq!(of("{\"items\": [{}]}\n{\"items\": [{}]}", true), Shape::Record);
        assert_eq!(of("{\"items\": [{}]}{\"items\": [", false), Shape::Record);
        assert_eq!(of(r#"[{"items": [{}]}]"#, true), Shape::Other);
    }

    #[test]
    fn the_first_bytes_are_enough_for_a_known_name() {
        assert_eq!(of(r#"{"n": 1, "Records": [{"a": "#, false), envelope(&["Records"]));
        assert_eq!(of(r#"{"n": 1, "orders": [{"a": "#, false), Shape::Other);
    }

    #[test]
    fn most_objects_decide() {
        let items = envelope(&["items"]);
        assert_eq!(agreed_path(&[items.clone(), items.clone(), Shape::Record, Shape::Other]), ["items"]);
        assert_eq!(agreed_path(&[items.clone(), Shape::Record]), Vec::<String>::new());
        let (line, several) = (of("{\"items\": [{}]}", true), of("{\"items\": [{}]}\n{\"items\": [{}]}", true));
        assert_eq!(agreed_path(&[several.clone(), line.clone()]), Vec::<String>::new());
        assert_eq!(agreed_path(&[line.clone(), line]), ["items"]);
        assert_eq!(agreed_path(&[]), Vec::<String>::new());
    }
}
