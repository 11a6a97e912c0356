//! The columns of a data file against those of its table, as Parquet schemas. Pure.
//!
//! A file may lack columns and struct fields of the table, except in maps. What it holds must have the table's names, types
//! and layout: a list is `group (LIST) { repeated group list { element } }`, a map `group (MAP) { repeated group key_value
//! { required key, value } }` (parquet-format, LogicalTypes.md).

use std::collections::{BTreeMap, HashMap};

use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::schema::types::{Type, TypePtr};

use super::finding::{Effect, Finding, FindingKind, Findings};
use super::readers::{Leaf, effects_of_type};
use crate::schema::MAX_NAME_BYTES;
use crate::write::NO_VALUES;

/// Checks the columns `held` of the data file at `path` against the columns of its table.
pub(super) fn check_columns(path: &str, held: &Type, table: &Type, partitions: &[String], found: &mut Findings) {
    if let [only] = held.get_fields()
        && only.name() == NO_VALUES
    {
        return;
    }
    Check { path, partitions, found }.level(held.get_fields(), table.get_fields(), "", false);
}

/// Whether a name is one that every reader takes as it is.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(plain)
}

/// The finding of a name that is not plain.
pub(super) fn name_finding(path: &str, column: &str, name: &str) -> Finding {
    let reason = if name.len() > MAX_NAME_BYTES {
        format!("the name has {} bytes, more than {MAX_NAME_BYTES}", name.len())
    } else {
        "the name is not made of a-z, 0-9 and _ alone".to_owned()
    };
    let mut effects = Vec::new();
    if name.len() > MAX_NAME_BYTES || name.is_empty() || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        effects.push(Effect::new("Athena", "column names must be lower case and have 1 to 255 bytes"));
    }
    if name.contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '=']) {
        effects.push(Effect::new("Spark", "DELTA_INVALID_CHARACTERS_IN_COLUMN_NAMES without column mapping"));
    }
    let finding = Finding::error(FindingKind::ColumnName, path, reason).of_column(column);
    if effects.is_empty() { finding.warning() } else { finding.with(effects) }
}

struct Check<'a> {
    path: &'a str,
    partitions: &'a [String],
    found: &'a mut Findings,
}

/// What a Parquet type is in a schema of structs, lists and maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Leaf,
    Struct,
    List,
    Map,
    /// A repeated field outside of a list.
    Repeated,
}

impl Shape {
    fn of(ty: &Type) -> Self {
        let info = ty.get_basic_info();
        if info.has_repetition() && info.repetition() == Repetition::REPEATED {
            return Self::Repeated;
        }
        Self::of_one(ty)
    }

    /// The shape of one value of a field, be it repeated or not.
    fn of_one(ty: &Type) -> Self {
        let info = ty.get_basic_info();
        match (ty.is_primitive(), info.logical_type_ref(), info.converted_type()) {
            (true, _, _) => Self::Leaf,
            (_, Some(LogicalType::List), _) | (_, None, ConvertedType::LIST) => Self::List,
            (_, Some(LogicalType::Map), _) | (_, None, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE) => Self::Map,
            _ => Self::Struct,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Leaf => "a single value",
            Self::Struct => "a struct",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Repeated => "a repeated field",
        }
    }
}

impl Check<'_> {
    fn push(&mut self, kind: FindingKind, column: &str, reason: String, effects: Vec<Effect>) {
        let finding = Finding::error(kind, self.path, reason).of_column(column);
        self.found.push(if effects.is_empty() { finding.warning() } else { finding.with(effects) });
    }

    /// The columns, or the fields of a struct below `parent`.
    fn level(&mut self, held: &[TypePtr], table: &[TypePtr], parent: &str, is_in_map: bool) {
        let known: HashMap<&str, &TypePtr> = table.iter().map(|field| (field.name(), field)).collect();
        let mut spellings: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for field in held {
            spellings.entry(field.name().to_lowercase()).or_default().push(field.name());
        }
        for (name, spelled) in &spellings {
            if spelled.len() > 1 {
                let reason = format!("the file holds this column {} times: {}", spelled.len(), spelled.join(", "));
                let spark = format!("Found duplicate field(s) \"{name}\": [{}]", spelled.join(", "));
                let one = "take the values of one of them and drop the others";
                let effects = vec![Effect::new("Spark", spark), Effect::new("Trino, Athena, Hive", one)];
                self.push(FindingKind::DuplicateColumn, &below(parent, name), reason, effects);
            }
        }
        for field in held {
            let column = below(parent, field.name());
            let is_distinct = spellings.get(&field.name().to_lowercase()).is_none_or(|spelled| spelled.len() == 1);
            match known.get(field.name()) {
                Some(theirs) => self.field(field, theirs, &column, is_in_map),
                // Told of already.
                None if !is_distinct => {}
                None => self.unknown(field.name(), table, &column, parent.is_empty()),
            }
            if is_distinct && !is_plain(field.name()) {
                self.found.push(name_finding(self.path, &column, field.name()));
            }
        }
        if is_in_map {
            for field in table.iter().filter(|field| held.iter().all(|mine| mine.name() != field.name())) {
                let reason = "the values of the map lack this field".to_owned();
                let effect =
                    Effect::new("DataFusion, delta-rs", "a map cannot be cast to one whose values have more fields");
                self.push(FindingKind::MapField, &below(parent, field.name()), reason, vec![effect]);
            }
        }
    }

    fn unknown(&mut self, name: &str, table: &[TypePtr], column: &str, is_top: bool) {
        if is_top && self.partitions.iter().any(|partition| partition.eq_ignore_ascii_case(name)) {
            let reason = "the file holds a partition column, whose value is in the log".to_owned();
            let effects = vec![
                Effect::new(
                    "Spark",
                    "duplicate columns in data and partition schema, when it reads the folder without the log",
                ),
                Effect::new("DataFusion, Polars", "a duplicate column, when they read the folder without the log"),
            ];
            return self.push(FindingKind::PartitionInFile, column, reason, effects);
        }
        let (reason, effect) = match table.iter().find(|field| field.name().eq_ignore_ascii_case(name)) {
            Some(theirs) => (
                format!("the table has no such column; it has {}", theirs.name()),
                Effect::new("DataFusion, delta-rs", "names are compared with their case: the column reads as null"),
            ),
            None => (
                "the table has no such column".to_owned(),
                Effect::new("Spark, Trino, Athena, Hive, DataFusion", "its values are in no query"),
            ),
        };
        self.push(FindingKind::UnknownColumn, column, reason, vec![effect]);
    }

    fn field(&mut self, held: &Type, table: &Type, column: &str, is_in_map: bool) {
        match (Shape::of(held), Shape::of(table)) {
            (Shape::Repeated, Shape::List) => {
                let reason = "the list is a repeated field without LIST: neither it nor its elements can be null";
                self.push(FindingKind::NestedLayout, column, reason.to_owned(), Vec::new());
                if let Some(element) = standard_element(table) {
                    self.value(held, element, &format!("{column}[]"), is_in_map);
                }
            }
            (Shape::Repeated, wanted) => self.other_shape(Shape::Repeated, wanted, column),
            _ => self.value(held, table, column, is_in_map),
        }
    }

    /// One value of a field, whatever its repetition.
    fn value(&mut self, held: &Type, table: &Type, column: &str, is_in_map: bool) {
        match (Shape::of_one(held), Shape::of_one(table)) {
            (Shape::Leaf, Shape::Leaf) => self.leaf(held, table, column),
            (Shape::Struct, Shape::Struct) => self.level(held.get_fields(), table.get_fields(), column, is_in_map),
            (Shape::List, Shape::List) => self.list(held, table, column, is_in_map),
            (Shape::Map, Shape::Map) => self.map(held, table, column),
            (mine, theirs) => self.other_shape(mine, theirs, column),
        }
    }

    fn other_shape(&mut self, mine: Shape, theirs: Shape, column: &str) {
        let reason = format!("the file holds {} where the table says {}", mine.name(), theirs.name());
        let effect = if mine == Shape::Repeated {
            Effect::new("Trino, Athena", "NOT_SUPPORTED: a repeated field outside of a list")
        } else if mine == Shape::Leaf || theirs == Shape::Leaf {
            Effect::new("Spark, Trino, Athena, Hive", "ClassCastException or the like: a group is no primitive type")
        } else {
            Effect::new("Trino, Athena", "fail, or read the column as null")
        };
        self.push(FindingKind::ColumnType, column, reason, vec![effect]);
    }

    fn leaf(&mut self, held: &Type, table: &Type, column: &str) {
        let (mine, theirs) = (Leaf::of(held), Leaf::of(table));
        if mine != theirs {
            let reason = format!("the file holds {mine} where the table gives {theirs}");
            self.push(FindingKind::ColumnType, column, reason, effects_of_type(&mine, &theirs));
        }
    }

    fn list(&mut self, held: &Type, table: &Type, column: &str, is_in_map: bool) {
        let Some(wanted) = standard_element(table) else { return };
        let [repeated] = held.get_fields() else { return self.malformed(column, "LIST") };
        if Shape::of(repeated) != Shape::Repeated {
            return self.malformed(column, "LIST");
        }
        let two_levels =
            format!("the list has two levels, not three: the repeated `{}` is its element", repeated.name());
        // The rules for old files of parquet-format, LogicalTypes.md.
        let element = match children(repeated) {
            [] if repeated.is_primitive() => {
                self.push(FindingKind::NestedLayout, column, two_levels, Vec::new());
                repeated
            }
            [] => return self.malformed(column, "LIST"),
            [element] if !is_tuple(repeated, element, held.name()) => {
                let names = (repeated.name(), element.name());
                if names != ("list", "element") {
                    let reason =
                        format!("the levels of the list are named {}.{} and not list.element", names.0, names.1);
                    self.push(FindingKind::NestedLayout, column, reason, Vec::new());
                }
                element
            }
            _ => {
                let mut effects = Vec::new();
                if matches!(repeated.name(), "array" | "list") && Shape::of_one(wanted) == Shape::Struct {
                    let effect = format!("takes the first field of `{}` for the element", repeated.name());
                    effects.push(Effect::new("Hive", effect));
                }
                self.push(FindingKind::NestedLayout, column, two_levels, effects);
                repeated
            }
        };
        self.value(element, wanted, &format!("{column}[]"), is_in_map);
    }

    fn map(&mut self, held: &Type, table: &Type, column: &str) {
        let Some([wanted_key, wanted_value]) = standard_entry(table) else { return };
        let [repeated] = held.get_fields() else { return self.malformed(column, "MAP") };
        if Shape::of(repeated) != Shape::Repeated || repeated.is_primitive() {
            return self.malformed(column, "MAP");
        }
        let [key, value] = repeated.get_fields() else {
            let reason = "the entries of the map have not a key and a value".to_owned();
            let effect = Effect::new("Trino, Athena", "read the column as null");
            return self.push(FindingKind::NestedLayout, column, reason, vec![effect]);
        };
        let mut odd = Vec::new();
        if (repeated.name(), key.name(), value.name()) != ("key_value", "key", "value") {
            odd.push(format!("its levels are named {}.{{{}, {}}}", repeated.name(), key.name(), value.name()));
        }
        if held.get_basic_info().converted_type() == ConvertedType::MAP_KEY_VALUE {
            odd.push("it is annotated MAP_KEY_VALUE".to_owned());
        }
        if key.get_basic_info().repetition() != Repetition::REQUIRED {
            odd.push("its keys may be null".to_owned());
        }
        if !odd.is_empty() {
            let reason = format!("the map is not laid out as MAP.key_value.{{key, value}}: {}", odd.join(", "));
            self.push(FindingKind::NestedLayout, column, reason, Vec::new());
        }
        self.value(key, wanted_key, &format!("{column}{{key}}"), true);
        self.field(value, wanted_value, &format!("{column}{{}}"), true);
    }

    fn malformed(&mut self, column: &str, annotation: &str) {
        let reason = format!("the {annotation} group does not hold one repeated field");
        let effect = Effect::new("Spark", format!("Invalid Parquet schema of a {annotation}"));
        self.push(FindingKind::NestedLayout, column, reason, vec![effect]);
    }
}

/// Whether a repeated group of one field is the element itself (rules 3 and 4 for old files).
fn is_tuple(repeated: &Type, only: &Type, list: &str) -> bool {
    Shape::of(only) == Shape::Repeated || repeated.name() == "array" || repeated.name() == format!("{list}_tuple")
}

/// The element of a list that is laid out in three levels.
fn standard_element(list: &Type) -> Option<&Type> {
    match children(list) {
        [repeated] => children(repeated).first().map(AsRef::as_ref),
        _ => None,
    }
}

/// Key and value of a map that is laid out in three levels.
fn standard_entry(map: &Type) -> Option<[&Type; 2]> {
    match children(map) {
        [repeated] => match children(repeated) {
            [key, value] => Some([key, value]),
            _ => None,
        },
        _ => None,
    }
}

/// The fields of a group; none of a primitive type.
fn children(ty: &Type) -> &[TypePtr] {
    if ty.is_primitive() { &[] } else { ty.get_fields() }
}

/// The path of a field of `parent`, which is empty for a column.
pub(super) fn below(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}
