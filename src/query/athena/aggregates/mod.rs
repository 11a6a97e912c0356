//! Aggregates: <https://trino.io/docs/current/functions/aggregate.html>. Those that are not here are DataFusion's.

mod best;
mod moments;
mod percentile;
mod sum;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, MapArray, StructArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::function::{failed, wrong};
use super::lambdas::entry;
use super::types::{list_of, map_of};

/// The functions.
pub(super) fn functions() -> Vec<AggregateUDF> {
    let mut all = map_functions();
    all.push(AggregateUDF::new_from_impl(best::BestBy::new("max_by", Ordering::Greater)));
    all.push(AggregateUDF::new_from_impl(best::BestBy::new("min_by", Ordering::Less)));
    all.extend(moments::functions());
    all.push(AggregateUDF::new_from_impl(percentile::ApproxPercentile::new()));
    all.push(AggregateUDF::new_from_impl(sum::CheckedSum::default()));
    all
}

fn map_functions() -> Vec<AggregateUDF> {
    let kinds = [
        (Kind::Histogram, "histogram"),
        (Kind::MapAgg, "map_agg"),
        (Kind::MultimapAgg, "multimap_agg"),
        (Kind::MapUnion, "map_union"),
    ];
    let function = |(kind, name)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::new_from_impl(MapAggregate { kind, name, signature })
    };
    kinds.map(function).into()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// How often each value is there.
    Histogram,
    /// The first value of each key.
    MapAgg,
    /// All values of each key.
    MultimapAgg,
    /// The entries of maps, of each key the first.
    MapUnion,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MapAggregate {
    kind: Kind,
    name: &'static str,
    signature: Signature,
}

impl MapAggregate {
    /// The types of keys and values.
    fn entry(&self, types: &[DataType]) -> Result<(DataType, DataType)> {
        let takes = match (self.kind, types) {
            (Kind::Histogram, [key]) => return Ok((key.clone(), DataType::Int64)),
            (Kind::MapAgg, [key, value]) => return Ok((key.clone(), value.clone())),
            (Kind::MultimapAgg, [key, value]) => return Ok((key.clone(), list_of(value.clone()))),
            (Kind::MapUnion, [map @ DataType::Map(..)]) => return entry(map),
            (Kind::Histogram, _) => "a value",
            (Kind::MapAgg | Kind::MultimapAgg, _) => "a key and a value",
            (Kind::MapUnion, _) => "a map",
        };
        Err(wrong(format!("{} takes {takes}", self.name)))
    }
}

impl AggregateUDFImpl for MapAggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.entry(types)?;
        Ok(types.to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.entry(types).map(|(key, value)| map_of(key, value))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let types: Vec<DataType> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let (key_type, value_type) = self.entry(&types)?;
        Ok(Box::new(MapAccumulator { kind: self.kind, key_type, value_type, ..MapAccumulator::default() }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let types: Vec<DataType> = args.input_fields.iter().map(|field| field.data_type().clone()).collect();
        let field =
            |name: &str, item: DataType| Arc::new(Field::new(format!("{}_{name}", args.name), list_of(item), true));
        let (key_type, value_type) = self.entry(&types)?;
        Ok(vec![field("keys", key_type), field("values", value_type)])
    }
}

#[derive(Debug)]
struct MapAccumulator {
    kind: Kind,
    key_type: DataType,
    value_type: DataType,
    /// The place of each key.
    places: HashMap<ScalarValue, usize>,
    keys: Vec<ScalarValue>,
    values: Vec<Held>,
    bytes: usize,
}

/// What a key has.
#[derive(Debug)]
enum Held {
    Count(i64),
    One(ScalarValue),
    Many(Vec<ScalarValue>),
}

impl Default for MapAccumulator {
    fn default() -> Self {
        Self {
            kind: Kind::Histogram,
            key_type: DataType::Null,
            value_type: DataType::Null,
            places: HashMap::new(),
            keys: Vec::new(),
            values: Vec::new(),
            bytes: 0,
        }
    }
}

impl MapAccumulator {
    fn add(&mut self, key: ScalarValue, held: Held) {
        let bytes: usize = match &held {
            Held::Count(_) => 0,
            Held::One(value) => value.size(),
            Held::Many(values) => values.iter().map(ScalarValue::size).sum(),
        };
        let Some(place) = self.places.get(&key) else {
            self.bytes += bytes + 2 * key.size() + size_of::<Held>() + size_of::<usize>();
            self.places.insert(key.clone(), self.keys.len());
            self.keys.push(key);
            self.values.push(held);
            return;
        };
        match (&mut self.values[*place], held) {
            (Held::Count(count), Held::Count(more)) => *count += more,
            (Held::Many(values), Held::Many(more)) => {
                self.bytes += bytes;
                values.extend(more);
            }
            _ => {}
        }
    }

    fn columns(&self) -> Result<(ArrayRef, ArrayRef)> {
        if self.keys.is_empty() {
            return Ok((new_empty_array(&self.key_type), new_empty_array(&self.value_type)));
        }
        let keys = ScalarValue::iter_to_array(self.keys.iter().cloned())?;
        let item = match &self.value_type {
            DataType::List(item) => item.data_type(),
            other => other,
        };
        let value = |held: &Held| match held {
            Held::Count(count) => ScalarValue::Int64(Some(*count)),
            Held::One(value) => value.clone(),
            Held::Many(values) => ScalarValue::List(ScalarValue::new_list(values, item, true)),
        };
        let values = ScalarValue::iter_to_array(self.values.iter().map(value))?;
        Ok((cast(&keys, &self.key_type)?, cast(&values, &self.value_type)?))
    }
}

impl Accumulator for MapAccumulator {
    fn update_batch(&mut self, args: &[ArrayRef]) -> Result<()> {
        for row in 0..args[0].len() {
            if args[0].is_null(row) {
                continue;
            }
            if self.kind == Kind::MapUnion {
                let map = args[0].as_map();
                for place in map.offsets()[row] as usize..map.offsets()[row + 1] as usize {
                    let held = Held::One(ScalarValue::try_from_array(map.values(), place)?);
                    self.add(ScalarValue::try_from_array(map.keys(), place)?, held);
                }
                continue;
            }
            let value = || ScalarValue::try_from_array(&args[1], row);
            let held = match self.kind {
                Kind::Histogram => Held::Count(1),
                Kind::MapAgg | Kind::MapUnion => Held::One(value()?),
                Kind::MultimapAgg => Held::Many(vec![value()?]),
            };
            self.add(ScalarValue::try_from_array(&args[0], row)?, held);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (keys, values) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for row in (0..keys.len()).filter(|row| !keys.is_null(*row)) {
            let (keys, values) = (keys.value(row), values.value(row));
            for place in 0..keys.len() {
                let held = match self.kind {
                    Kind::Histogram => {
                        Held::Count(values.as_primitive::<arrow::array::types::Int64Type>().value(place))
                    }
                    Kind::MapAgg | Kind::MapUnion => Held::One(ScalarValue::try_from_array(&values, place)?),
                    Kind::MultimapAgg => {
                        let many = values.as_list::<i32>().value(place);
                        Held::Many(
                            (0..many.len())
                                .map(|index| ScalarValue::try_from_array(&many, index))
                                .collect::<Result<_>>()?,
                        )
                    }
                };
                self.add(ScalarValue::try_from_array(&keys, place)?, held);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (keys, values) = self.columns()?;
        let list = |values: ArrayRef| {
            let DataType::List(item) = list_of(values.data_type().clone()) else { return Err(failed("no list")) };
            let offsets = OffsetBuffer::from_lengths([values.len()]);
            Ok(ScalarValue::List(Arc::new(arrow::array::ListArray::try_new(item, offsets, values, None)?)))
        };
        Ok(vec![list(keys)?, list(values)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let data_type = map_of(self.key_type.clone(), self.value_type.clone());
        if self.keys.is_empty() {
            return ScalarValue::try_from(&data_type);
        }
        let (DataType::Map(entries, is_sorted), (keys, values)) = (&data_type, self.columns()?) else {
            return Err(failed("no map"));
        };
        let DataType::Struct(fields) = entries.data_type() else { return Err(failed("no map")) };
        let offsets = OffsetBuffer::from_lengths([keys.len()]);
        let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
        let map = MapArray::try_new(Arc::clone(entries), offsets, pairs, None, *is_sorted)?;
        Ok(ScalarValue::Map(Arc::new(map)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes
    }
}
