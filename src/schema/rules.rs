//! What people say of columns, over what was seen: the type a column must have, its name, that it is left out; and how far
//! the columns of a table may change at all.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::kind::Class;
use super::names::fold;

/// How the columns of a table that is there may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contract {
    /// Columns are added and promoted as the data asks for it.
    #[default]
    Evolve,
    /// Columns are added, never promoted: a record with a value that does not fit its column is quarantined.
    AddOnly,
    /// Nothing changes: a record with a key that has no column is quarantined, too.
    Freeze,
}

/// A type that a column is given whatever was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Forced {
    /// Strings as they are, other scalars by their text.
    String,
    /// Integers of 64 bits, and strings that are the digits of one.
    Bigint,
    /// Numbers that are exact as a double or are written with a fraction or an exponent, and strings that are such numbers.
    Double,
    /// Numbers of at most `precision` digits, `scale` of them behind the point, and strings that are such numbers.
    Decimal {
        /// Digits, 1 to 38.
        precision: u8,
        /// Digits behind the point, 0 to `precision`.
        scale: u8,
    },
    /// RFC 3339 date-times.
    Timestamp,
    /// `YYYY-MM-DD`.
    Date,
    /// JSON text of any value.
    Json,
    /// Objects, as map from keys to values of one type.
    Map,
}

impl fmt::Display for Forced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Bigint => "bigint",
            Self::Double => "double",
            Self::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Json => "json",
            Self::Map => "map",
        })
    }
}

impl FromStr for Forced {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        Ok(match compact.to_ascii_lowercase().as_str() {
            "string" => Self::String,
            "bigint" => Self::Bigint,
            "double" => Self::Double,
            "timestamp" => Self::Timestamp,
            "date" => Self::Date,
            "json" => Self::Json,
            "map" => Self::Map,
            other => return decimal(other).ok_or_else(|| unknown_type(text)),
        })
    }
}

fn decimal(text: &str) -> Option<Forced> {
    let arguments = text.strip_prefix("decimal(")?.strip_suffix(')')?;
    let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
    let (precision, scale): (u8, u8) = (precision.parse().ok()?, scale.parse().ok()?);
    ((1..=38).contains(&precision) && scale <= precision).then_some(Forced::Decimal { precision, scale })
}

fn unknown_type(text: &str) -> String {
    format!(
        "{text:?} is none of string, bigint, double, decimal(p,s) with p up to 38 and s up to p, timestamp, date, json, map"
    )
}

impl From<Forced> for String {
    fn from(forced: Forced) -> Self {
        forced.to_string()
    }
}

impl TryFrom<String> for Forced {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What is said of one column and of those below it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// The type its values must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ty: Option<Forced>,
    /// Its values are left out.
    #[serde(skip_serializing_if = "is_false")]
    pub drop: bool,
    /// The name it gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rename: Option<String>,
    /// The keys of the objects here, folded to names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Rule>,
    /// The elements of the arrays here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element: Option<Box<Rule>>,
    /// The values of the maps here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Box<Rule>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Rule {
    /// The rule for the values of a key.
    pub fn field(&self, key: &str) -> Option<&Self> {
        if self.fields.is_empty() { None } else { self.fields.get(&fold(key)) }
    }

    /// The rule at a path below this one (see [`path_steps`]), which is added when there is none.
    ///
    /// # Errors
    /// A message that shows what is no path.
    pub fn at_path(&mut self, path: &str) -> Result<&mut Self, String> {
        Ok(path_steps(path)?.iter().fold(self, Self::below))
    }

    /// The rule one step below, which is added when there is none.
    pub fn below(&mut self, step: &Step) -> &mut Self {
        match step {
            Step::Key(key) => self.fields.entry(fold(key)).or_default(),
            Step::Element => self.element.get_or_insert_default(),
            Step::Value => {
                // What has a rule for the values of maps is a map, not only when it has very many keys.
                self.ty.get_or_insert(Forced::Map);
                self.value.get_or_insert_default()
            }
        }
    }

    /// What the values must be, as a type is said of columns below them, or that these are left out: objects or arrays.
    ///
    /// (Else a single value of another kind would make all of them JSON text, for which nothing is said.)
    pub fn shape(&self) -> Option<Class> {
        if self.ty.is_some() || self.drop {
            None
        } else if self.fields.values().any(Self::binds) {
            Some(Class::Struct)
        } else {
            self.element.as_deref().filter(|element| element.binds()).map(|_| Class::List)
        }
    }

    fn binds(&self) -> bool {
        self.ty.is_some() || self.drop || self.shape().is_some()
    }

    /// Keeps the types of `before` that this rule does not change: a column that was given a type keeps it.
    pub fn inherit_types(&mut self, before: &Self) {
        self.ty = self.ty.or(before.ty);
        for (key, below) in &before.fields {
            self.fields.entry(key.clone()).or_default().inherit_types(below);
        }
        for (mine, theirs) in [(&mut self.element, &before.element), (&mut self.value, &before.value)] {
            if let Some(theirs) = theirs {
                mine.get_or_insert_default().inherit_types(theirs);
            }
        }
    }

    /// Only the types in it.
    #[must_use]
    pub fn types(&self) -> Self {
        let mut types = Self::default();
        types.inherit_types(self);
        types
    }
}

/// A step of the path to a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To the values of a key.
    Key(String),
    /// To the elements of arrays.
    Element,
    /// To the values of maps.
    Value,
}

/// The steps of a path to a column: keys, or `[]` for the elements of arrays and `{}` for the values of maps, which follow
/// one another as in `payload.items[].price`. A key with one of `.[{"` in it stands in double quotes.
///
/// # Errors
/// A message that shows what is no path.
pub fn path_steps(path: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() || steps.is_empty() {
        if let Some(after) = rest.strip_prefix("[]").filter(|_| !steps.is_empty()) {
            steps.push(Step::Element);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("{}").filter(|_| !steps.is_empty()) {
            steps.push(Step::Value);
            rest = after;
        } else {
            let unpointed = if steps.is_empty() { Some(rest) } else { rest.strip_prefix('.') };
            let (key, after) =
                unpointed.and_then(split_key).ok_or_else(|| format!("{path:?} is no path of a column"))?;
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        }
    }
    Ok(steps)
}

/// The key at the begin of a path, and what follows it.
fn split_key(path: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = path.strip_prefix('"') {
        return quoted.split_once('"');
    }
    let end = path.find(['.', '[', '{']).unwrap_or(path.len());
    (end > 0).then(|| path.split_at(end))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use super::*;

    fn forced(text: &str) -> Option<Forced> {
        text.parse().ok()
    }

    #[test]
    fn types_are_read_as_they_are_shown() {
        for text in ["string", "bigint", "double", "decimal(12,2)", "timestamp", "date", "json", "map"] {
            assert_eq!(forced(text).unwrap().to_string(), text);
        }
        assert_eq!(forced("Decimal( 38 )"), Some(Forced::Decimal { precision: 38, scale: 0 }));
        for text in ["", "int", "decimal", "decimal(0,0)", "decimal(39,0)", "decimal(3,4)", "decimal(3,-1)", "map<x>"] {
            assert!(text.parse::<Forced>().unwrap_err().contains("decimal(p,s)"), "{text}");
        }
    }

    #[test]
    fn a_rule_is_found_by_any_spelling_of_its_path() {
        let mut root = Rule::default();
        root.at_path("payload.Items[].\"unit.price\"").unwrap().ty = Some(Forced::Double);
        root.at_path("labels{}").unwrap().drop = true;
        let items = root.field("Payload").unwrap().field("items").unwrap();
        assert_eq!(items.element.as_ref().unwrap().field("unit_price").unwrap().ty, Some(Forced::Double));
        assert!(root.field("LABELS").unwrap().value.as_ref().unwrap().drop);
        assert!(root.field("other").is_none());
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["", ".a", "a.", "a..b", "a[", "a[0]", "a[]b", "\"a"] {
            assert!(Rule::default().at_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn types_once_given_stay_until_they_are_given_anew() {
        let mut before = Rule::default();
        before.at_path("a.b[]").unwrap().ty = Some(Forced::String);
        before.at_path("c").unwrap().ty = Some(Forced::Date);
        before.at_path("d").unwrap().drop = true;
        let mut now = Rule::default();
        now.at_path("c").unwrap().ty = Some(Forced::Timestamp);
        now.inherit_types(&before);
        assert_eq!(now.at_path("a.b[]").unwrap().ty, Some(Forced::String));
        assert_eq!(now.at_path("c").unwrap().ty, Some(Forced::Timestamp));
        assert!(!now.at_path("d").unwrap().drop);
    }
}
