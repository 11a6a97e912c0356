//! Why a column has the type it has: what was seen at its path, and how its type came about.

use serde::Serialize;

use super::history::{ColumnChange, sql_type};
use super::registry::Registry;
use crate::schema::{
    Class, Field, IntRange, Kind, KindSet, MAX_COLUMN_DEPTH, MAX_OBJECT_KEYS, Observation, Step, Type, fold, kinds,
    path_steps,
};

/// What is known of one column.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Its path of column names, with `[]` and `{}` where arrays and maps lie between.
    pub path: String,
    /// The original keys of the last step.
    pub keys: Vec<String>,
    /// Its SQL type; `None`: only nulls, `{}` or `[]` so far, and so no column yet.
    pub sql_type: Option<String>,
    /// Why it has that type.
    pub why: String,
    /// What was seen, by kind of JSON value.
    pub kinds: Vec<KindSeen>,
    /// The smallest and largest integer.
    pub integers: Option<IntRange>,
    /// The first raw object (by key) with a value other than null.
    pub first_object: Option<String>,
    /// The last one.
    pub last_object: Option<String>,
    /// When the column was added and when its type became wider.
    pub changes: Vec<DatedChange>,
    /// The path from the record in original keys.
    #[serde(skip)]
    pub steps: Vec<Step>,
}

/// How often a kind was seen.
#[derive(Debug, Clone, Serialize)]
pub struct KindSeen {
    /// The kind.
    pub kind: Kind,
    /// Values.
    pub count: u64,
    /// The first raw object (by key) that has one.
    pub first_object: Option<String>,
}

/// A change and the version that it made.
#[derive(Debug, Clone, Serialize)]
pub struct DatedChange {
    /// The version of the columns.
    pub schema_version: u64,
    /// The version of the table.
    pub table_version: u64,
    /// When, RFC 3339.
    pub at: String,
    /// The change.
    #[serde(flatten)]
    pub change: ColumnChange,
}

/// Explains the column at `path`, in column names or original keys; `[]` and `{}` may be left out.
///
/// # Errors
/// A message when there is no such path.
pub fn explain(registry: &Registry, path: &str) -> Result<Explanation, String> {
    if registry.provenance.as_deref() == Some(path) {
        return Err(format!("column {path} names the raw object of each row; nothing is to be seen at it"));
    }
    let unknown = || format!("nothing was seen at {path}");
    let mut here = Here {
        seen: vec![&registry.observed],
        ty: None,
        fields: &registry.fields,
        path: String::new(),
        steps: Vec::new(),
    };
    let mut keys = Vec::new();
    for step in path_steps(path)? {
        match step {
            Step::Key(key) => keys = here.step_to_key(&key).ok_or_else(unknown)?,
            Step::Element => here.step_to_elements().ok_or_else(unknown)?,
            Step::Value => here.step_to_values().ok_or_else(unknown)?,
        }
    }
    let Here { seen, ty, path, steps, .. } = here;
    let count = |kind: Kind| seen.iter().map(|seen| seen.tally.count(kind)).sum::<u64>();
    let first = |kind: Kind| seen.iter().filter_map(|seen| seen.first.get(&kind)).min().cloned();
    let changes = registry.history.iter().flat_map(|version| {
        version.changes.iter().filter(|change| change.path == path).map(|change| DatedChange {
            schema_version: version.version,
            table_version: version.run.table_version,
            at: version.run.at.clone(),
            change: change.clone(),
        })
    });
    let is_forced = steps
        .iter()
        .try_fold(&registry.rule, |rule, step| match step {
            Step::Key(key) => rule.field(key),
            Step::Element => rule.element.as_deref(),
            Step::Value => rule.value.as_deref(),
        })
        .is_some_and(|rule| rule.ty.is_some());
    Ok(Explanation {
        keys,
        sql_type: ty.map(sql_type),
        why: if is_forced { "the configuration says so".to_owned() } else { why(kinds(&seen), ty) },
        kinds: Kind::ALL
            .into_iter()
            .filter(|kind| count(*kind) > 0)
            .map(|kind| KindSeen { kind, count: count(kind), first_object: first(kind) })
            .collect(),
        integers: seen.iter().fold(None, |range, seen| IntRange::union(range, seen.ints)),
        first_object: seen.iter().filter_map(|seen| seen.first_object()).min().map(str::to_owned),
        last_object: seen.iter().filter_map(|seen| seen.last.as_ref()).max().cloned(),
        changes: changes.collect(),
        path,
        steps,
    })
}

/// A place on the way from the record to a column.
struct Here<'a> {
    seen: Vec<&'a Observation>,
    /// The type, where there is a column.
    ty: Option<&'a Type>,
    /// The columns below.
    fields: &'a [Field],
    path: String,
    steps: Vec<Step>,
}

impl<'a> Here<'a> {
    /// Goes to the values of a key, through arrays and maps where these lie between; returns its spellings.
    fn step_to_key(&mut self, key: &str) -> Option<Vec<String>> {
        loop {
            let is_spelled = |field: &&Field| field.name == key || field.keys.iter().any(|own| own == key);
            let folds = |field: &&Field| field.name == fold(key);
            let name = self.fields.iter().find(is_spelled).or_else(|| self.fields.iter().find(folds));
            let is_meant = |own: &String, seen: &Observation| match name {
                Some(field) => field.keys.contains(own),
                None => fold(own) == fold(key) || seen.column.as_deref() == Some(key),
            };
            let members: Vec<(&String, &Observation)> =
                self.seen.iter().flat_map(|seen| &seen.fields).filter(|(own, seen)| is_meant(own, seen)).collect();
            if members.is_empty() {
                self.step_to_elements().or_else(|| self.step_to_values())?;
                continue;
            }
            let mut keys: Vec<String> = members.iter().map(|(own, _)| (*own).clone()).collect();
            keys.sort();
            keys.dedup();
            self.seen = members.into_iter().map(|(_, seen)| seen).collect();
            let dot = if self.path.is_empty() { "" } else { "." };
            self.path.push_str(&format!("{dot}{}", name.map_or_else(|| fold(key), |field| field.name.clone())));
            self.steps.push(Step::Key(keys[0].clone()));
            self.set_type(name.map(|field| &field.ty));
            return Some(keys);
        }
    }

    fn step_to_elements(&mut self) -> Option<()> {
        let element = if let Some(Type::List(element)) = self.ty { Some(&**element) } else { None };
        let seen: Vec<&Observation> = self.seen.iter().filter_map(|seen| seen.element.as_deref()).collect();
        self.enter(seen, element, "[]", Step::Element)
    }

    fn step_to_values(&mut self) -> Option<()> {
        let value = if let Some(Type::Map(value)) = self.ty { Some(&**value) } else { None };
        let seen: Vec<&Observation> = self.seen.iter().filter_map(|seen| seen.dictionary.as_deref()).collect();
        self.enter(seen, value, "{}", Step::Value)
    }

    fn enter(&mut self, seen: Vec<&'a Observation>, ty: Option<&'a Type>, brackets: &str, step: Step) -> Option<()> {
        if seen.is_empty() {
            return None;
        }
        self.seen = seen;
        self.path.push_str(brackets);
        self.steps.push(step);
        self.set_type(ty);
        Some(())
    }

    fn set_type(&mut self, ty: Option<&'a Type>) {
        self.ty = ty;
        self.fields = if let Some(Type::Struct(fields)) = ty { fields } else { &[] };
    }
}

/// The row of the type table that holds.
fn why(kinds: KindSet, ty: Option<&Type>) -> String {
    let has = |kind: Kind| kinds.contains(kind);
    match (ty, kinds.class()) {
        (None, _) => "nothing but null, {} or [] was seen".to_owned(),
        (Some(Type::Map(_)), _) => {
            format!("the keys are data: more than {MAX_OBJECT_KEYS} of them, or more columns than the table may have")
        }
        (Some(Type::Json), Class::Struct | Class::List) => {
            format!("values more than {MAX_COLUMN_DEPTH} arrays and objects deep are kept as JSON text")
        }
        (Some(Type::Json), _) => "scalars, objects and arrays have no type in common but JSON text".to_owned(),
        (_, Class::Bool) => "every value is true or false".to_owned(),
        (_, Class::Int64) => "every value is an integer of 64 bits".to_owned(),
        (_, Class::Decimal) => "some integers need more than 64 bits and none more than 38 digits".to_owned(),
        (_, Class::Double) if has(Kind::Int) => {
            "there are fractions, and every integer is exact as a double".to_owned()
        }
        (_, Class::Double) => "every value has a fraction or an exponent".to_owned(),
        (_, Class::Timestamp) if !has(Kind::Timestamp) => {
            "every value is a date-time, none with an offset: taken as UTC".to_owned()
        }
        (_, Class::Timestamp) => "every value is an RFC 3339 date-time of at most microseconds".to_owned(),
        (_, Class::Date) => "every value is a date".to_owned(),
        (_, Class::Struct) => "every value is an object".to_owned(),
        (_, Class::List) => "every value is an array".to_owned(),
        (_, Class::Text) => why_text(kinds),
        (_, Class::Unresolved | Class::Json) => "no value was seen".to_owned(),
    }
}

fn why_text(kinds: KindSet) -> String {
    let has = |kind: Kind| kinds.contains(kind);
    let numbers = [Kind::Int, Kind::WideInt, Kind::BigInt, Kind::HugeInt, Kind::Double, Kind::HugeDouble];
    let is_number = numbers.into_iter().any(has);
    let is_string = [Kind::Timestamp, Kind::NaiveTimestamp, Kind::Date, Kind::String].into_iter().any(has);
    match (is_number, is_string || has(Kind::Bool)) {
        (true, false) if has(Kind::HugeInt) => "some integers have more than 38 digits".to_owned(),
        (true, false) if has(Kind::HugeDouble) => "some numbers are out of the range of a double".to_owned(),
        (true, false) => "there are fractions, and integers that are not exact as a double".to_owned(),
        (_, _) if is_number || has(Kind::Bool) => "values of different kinds have only their text in common".to_owned(),
        (_, _) if has(Kind::String) => "some values are strings that name no time".to_owned(),
        _ => "there are dates and date-times".to_owned(),
    }
}
