//! What a column's values lie in: one plain vector, or text, or a tree of columns for each class.

use super::column::Column;
use super::object::StructData;
use crate::schema::{Class, Forced, Rule};

/// The storage of each class.
#[derive(Debug)]
pub(super) enum Data {
    /// Nothing but nulls so far.
    Empty,
    /// Values are checked and dropped: the column is not projected.
    Skip,
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Decimal(Vec<i128>),
    /// Multiples of 10^-scale, where the type is said.
    Scaled {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
    Double(Vec<f64>),
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
    Text(Bytes),
    Json(Bytes),
    Struct(Box<StructData>),
    List(Box<ListData>),
    Map(Box<MapData>),
}

/// Strings one behind another; `ends[i]` is where the `i`-th ends.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    pub(super) offsets: Vec<i32>,
    pub(super) data: Vec<u8>,
}

/// The elements of arrays; row `i` holds the elements `offsets[i]..offsets[i + 1]`.
#[derive(Debug)]
pub(super) struct ListData {
    pub(super) offsets: Vec<i32>,
    pub(super) element: Column,
    /// The table refuses arrays with elements.
    pub(super) closed: bool,
}

/// The entries of dictionaries.
#[derive(Debug)]
pub(super) struct MapData {
    pub(super) offsets: Vec<i32>,
    pub(super) keys: Bytes,
    pub(super) value: Column,
}

impl Bytes {
    /// `rows` empty strings.
    fn empty(rows: usize) -> Self {
        Self { offsets: vec![0; rows + 1], data: Vec::new() }
    }

    #[inline]
    pub(super) fn push(&mut self, text: &[u8]) {
        self.data.extend_from_slice(text);
        self.offsets.push(self.data.len() as i32);
    }

    /// Ends a string that was appended to `data`.
    #[inline]
    pub(super) fn finish_one(&mut self) {
        self.offsets.push(self.data.len() as i32);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.data.truncate(self.offsets.last().map_or(0, |end| *end as usize));
    }

    pub(super) fn get(&self, row: usize) -> &[u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// The strings.
    pub(super) fn take(&mut self) -> Self {
        let taken = Self { offsets: take(&mut self.offsets), data: take(&mut self.data) };
        self.offsets.push(0);
        taken
    }
}

/// The values, for a batch; what the next one brings is expected to be about as many. Batches wait in memory for long, so
/// they hold little more than their values.
pub(super) fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let fresh = Vec::with_capacity(values.len() + values.len() / 8);
    let mut taken = std::mem::replace(values, fresh);
    if taken.capacity() - taken.len() > taken.len() / 4 {
        taken.shrink_to_fit();
    }
    taken
}

impl Data {
    /// Storage for values that have `depth` arrays and objects around them, with `rows` nulls in it.
    pub(super) fn new(class: Class, dictionary: bool, depth: usize, rule: Option<&Rule>, rows: usize) -> Self {
        match class {
            Class::Unresolved => Self::Empty,
            Class::Bool => Self::Bool(vec![false; rows]),
            Class::Int64 => Self::Int(vec![0; rows]),
            Class::Decimal => Self::Decimal(vec![0; rows]),
            Class::Double => Self::Double(vec![0.0; rows]),
            Class::Timestamp => Self::Timestamp(vec![0; rows]),
            Class::Date => Self::Date(vec![0; rows]),
            Class::Text => Self::Text(Bytes::empty(rows)),
            Class::Json => Self::Json(Bytes::empty(rows)),
            Class::List => {
                let element = Column::new(depth + 1, rule.and_then(|rule| rule.element.as_deref()));
                Self::List(Box::new(ListData { offsets: vec![0; rows + 1], element, closed: false }))
            }
            Class::Struct if dictionary => Self::Map(Box::new(MapData {
                offsets: vec![0; rows + 1],
                keys: Bytes::empty(0),
                value: Column::new(depth + 1, rule.and_then(|rule| rule.value.as_deref())),
            })),
            Class::Struct => Self::Struct(Box::new(StructData::new(depth + 1, rule))),
        }
    }

    /// Storage without rows for the values of a column whose type is said.
    pub(super) fn forced(forced: Forced, depth: usize, rule: Option<&Rule>) -> Self {
        let class = match forced {
            Forced::String => Class::Text,
            Forced::Bigint => Class::Int64,
            Forced::Double => Class::Double,
            Forced::Decimal { precision, scale } => return Self::Scaled { values: Vec::new(), precision, scale },
            Forced::Timestamp => Class::Timestamp,
            Forced::Date => Class::Date,
            Forced::Json => Class::Json,
            Forced::Map => Class::Struct,
        };
        Self::new(class, true, depth, rule, 0)
    }

    pub(super) fn class(&self) -> Class {
        match self {
            Self::Empty | Self::Skip => Class::Unresolved,
            Self::Bool(_) => Class::Bool,
            Self::Int(_) => Class::Int64,
            Self::Decimal(_) | Self::Scaled { .. } => Class::Decimal,
            Self::Double(_) => Class::Double,
            Self::Timestamp(_) => Class::Timestamp,
            Self::Date(_) => Class::Date,
            Self::Text(_) => Class::Text,
            Self::Json(_) => Class::Json,
            Self::Struct(_) | Self::Map(_) => Class::Struct,
            Self::List(_) => Class::List,
        }
    }
}
