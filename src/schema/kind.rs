//! What one JSON value can be, sets of that, and the column class a set leads to.
//!
//! A [`KindSet`] is a join semilattice under union, and [`KindSet::class`] is a function of the set alone. That is why
//! the type of a column depends neither on the order of the records nor on how they were cut into batches.

use serde::{Deserialize, Serialize};

/// What a JSON value was seen to be, as fine as the choice of a column type needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// An integer within ±2^53: exact as a double.
    Int,
    /// An integer beyond ±2^53 but within 64 bits.
    WideInt,
    /// An integer beyond 64 bits of at most 38 digits.
    BigInt,
    /// An integer of more than 38 digits.
    HugeInt,
    /// A number with a fraction or an exponent (also `-0`), within the range of a double.
    Double,
    /// A number whose magnitude no double can hold.
    HugeDouble,
    /// An RFC 3339 date-time with an offset, at most microseconds.
    Timestamp,
    /// The same without an offset.
    NaiveTimestamp,
    /// A string of the form `YYYY-MM-DD` that names a day.
    Date,
    /// Any other string.
    String,
    /// `{}`
    EmptyObject,
    /// An object with keys.
    Object,
    /// `[]`
    EmptyArray,
    /// An array with elements.
    Array,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 16;

    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Null,
        Self::Bool,
        Self::Int,
        Self::WideInt,
        Self::BigInt,
        Self::HugeInt,
        Self::Double,
        Self::HugeDouble,
        Self::Timestamp,
        Self::NaiveTimestamp,
        Self::Date,
        Self::String,
        Self::EmptyObject,
        Self::Object,
        Self::EmptyArray,
        Self::Array,
    ];

    /// The name used in the registry and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "boolean",
            Self::Int => "integer",
            Self::WideInt => "integer_over_53_bits",
            Self::BigInt => "integer_over_64_bits",
            Self::HugeInt => "integer_over_38_digits",
            Self::Double => "number",
            Self::HugeDouble => "number_out_of_range",
            Self::Timestamp => "date_time",
            Self::NaiveTimestamp => "date_time_without_offset",
            Self::Date => "date",
            Self::String => "string",
            Self::EmptyObject => "empty_object",
            Self::Object => "object",
            Self::EmptyArray => "empty_array",
            Self::Array => "array",
        }
    }

    /// Whether `null` and what holds no value: `{}` and `[]`.
    pub fn holds_nothing(self) -> bool {
        KindSet::EMPTY.with(self).holds_nothing()
    }

    /// The kind of that [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| serde::de::Error::custom(format!("unknown kind of JSON value {name:?}")))
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct KindSet(u16);

/// How many arrays and objects around a value are columns: those within are stored as JSON text.
///
/// Readers of schemas recurse: the Arrow schema in a Parquet footer may nest 64 tables (FlatBuffers' verifier; a map
/// takes two), JSON 128 brackets (serde_json; a struct field takes three in Delta's log).
pub const MAX_COLUMN_DEPTH: usize = 24;

/// The shape of the column that holds a set of kinds (design, "Types and evolution").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Only nulls so far: no column.
    Unresolved,
    /// boolean
    Bool,
    /// bigint
    Int64,
    /// decimal(38,0)
    Decimal,
    /// double
    Double,
    /// timestamp, microseconds, UTC
    Timestamp,
    /// date
    Date,
    /// string: the text of a string, the original text of any other scalar
    Text,
    /// string that holds JSON text
    Json,
    /// struct (or map); without a resolved field: no column
    Struct,
    /// list; only empty ones so far: no column
    List,
}

impl KindSet {
    /// The set without members.
    pub const EMPTY: Self = Self(0);

    const NULL: u16 = 1 << Kind::Null as u16;
    const BOOL: u16 = 1 << Kind::Bool as u16;
    const TEXT_NUMBERS: u16 = 1 << Kind::HugeInt as u16 | 1 << Kind::HugeDouble as u16;
    const BEYOND_DOUBLE: u16 = 1 << Kind::WideInt as u16 | 1 << Kind::BigInt as u16;
    const NUMBERS: u16 = 1 << Kind::Int as u16 | 1 << Kind::Double as u16 | Self::TEXT_NUMBERS | Self::BEYOND_DOUBLE;
    const TIMES: u16 = 1 << Kind::Timestamp as u16 | 1 << Kind::NaiveTimestamp as u16;
    const DATE: u16 = 1 << Kind::Date as u16;
    const OBJECTS: u16 = 1 << Kind::Object as u16 | 1 << Kind::EmptyObject as u16;
    const ARRAYS: u16 = 1 << Kind::Array as u16 | 1 << Kind::EmptyArray as u16;

    /// Whether `kind` is a member.
    #[inline]
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }

    /// This set and `kind`.
    #[inline]
    #[must_use]
    pub fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u16)
    }

    /// This set without `kind`.
    #[must_use]
    pub fn without(self, kind: Kind) -> Self {
        Self(self.0 & !(1 << kind as u16))
    }

    /// Both sets together.
    #[inline]
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is no member.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether nothing but null, `{}` and `[]` is a member.
    pub fn holds_nothing(self) -> bool {
        self.0 & !(Self::NULL | 1 << Kind::EmptyObject as u16 | 1 << Kind::EmptyArray as u16) == 0
    }

    /// The column class that holds every value of these kinds without loss.
    pub fn class(self) -> Class {
        let kinds = self.0 & !Self::NULL;
        let is_within = |group: u16| kinds & !group == 0;
        let has = |group: u16| kinds & group != 0;
        if kinds == 0 {
            return Class::Unresolved;
        }
        if has(Self::OBJECTS | Self::ARRAYS) {
            return if is_within(Self::OBJECTS) {
                Class::Struct
            } else if is_within(Self::ARRAYS) {
                Class::List
            } else {
                Class::Json
            };
        }
        if is_within(Self::BOOL) {
            return Class::Bool;
        }
        if is_within(Self::NUMBERS) {
            let fractions = has(1 << Kind::Double as u16);
            return if has(Self::TEXT_NUMBERS) || fractions && has(Self::BEYOND_DOUBLE) {
                Class::Text
            } else if fractions {
                Class::Double
            } else if has(1 << Kind::BigInt as u16) {
                Class::Decimal
            } else {
                Class::Int64
            };
        }
        if is_within(Self::TIMES) {
            return Class::Timestamp;
        }
        if is_within(Self::DATE) { Class::Date } else { Class::Text }
    }
}

impl KindSet {
    /// [`class`](Self::class) where `depth` arrays and objects are around the values, the record itself among them.
    pub fn class_at(self, depth: usize) -> Class {
        match self.class() {
            Class::Struct | Class::List if depth >= MAX_COLUMN_DEPTH => Class::Json,
            class => class,
        }
    }
}

impl FromIterator<Kind> for KindSet {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(kinds: &[Kind]) -> Class {
        kinds.iter().copied().collect::<KindSet>().class()
    }

    #[test]
    fn each_row_of_the_type_table_holds() {
        use Kind::*;
        assert_eq!(class(&[]), Class::Unresolved);
        assert_eq!(class(&[Null]), Class::Unresolved);
        assert_eq!(class(&[Null, Bool]), Class::Bool);
        assert_eq!(class(&[Int, WideInt]), Class::Int64);
        assert_eq!(class(&[Int, BigInt]), Class::Decimal);
        assert_eq!(class(&[Int, HugeInt]), Class::Text);
        assert_eq!(class(&[Double]), Class::Double);
        assert_eq!(class(&[Double, HugeDouble]), Class::Text);
        assert_eq!(class(&[Int, Double]), Class::Double);
        assert_eq!(class(&[WideInt, Double]), Class::Text);
        assert_eq!(class(&[BigInt, Double]), Class::Text);
        assert_eq!(class(&[Timestamp, NaiveTimestamp]), Class::Timestamp);
        assert_eq!(class(&[Date]), Class::Date);
        assert_eq!(class(&[Timestamp, Date]), Class::Text);
        assert_eq!(class(&[Timestamp, String]), Class::Text);
        assert_eq!(class(&[Int, String]), Class::Text);
        assert_eq!(class(&[Bool, Int]), Class::Text);
        assert_eq!(class(&[Object, EmptyObject, Null]), Class::Struct);
        assert_eq!(class(&[Array, EmptyArray]), Class::List);
        assert_eq!(class(&[Int, Object]), Class::Json);
        assert_eq!(class(&[String, Array]), Class::Json);
        assert_eq!(class(&[Object, Array]), Class::Json);
    }

    #[test]
    fn a_class_never_narrows_when_kinds_are_added() {
        // Text and Json are final: nothing added to a set leads back to a narrower class.
        for bits in 0..1u32 << Kind::COUNT {
            let set = KindSet(bits as u16);
            for kind in Kind::ALL {
                match (set.class(), set.with(kind).class()) {
                    (Class::Json, after) => assert_eq!(after, Class::Json),
                    (Class::Text, after) => assert!(matches!(after, Class::Text | Class::Json)),
                    _ => {}
                }
            }
        }
    }
}
