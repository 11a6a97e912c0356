//! `sum`, which fails where integers and intervals overflow; the engine's wraps around.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::types::{ArrowPrimitiveType, DurationMicrosecondType, Int64Type};
use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature, StatisticsArgs,
};
use datafusion::physical_expr::NullState;

use super::failed;

/// The engine's, but for sums of integers and of durations.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct CheckedSum(Sum);

fn overflow() -> DataFusionError {
    failed("addition overflow in sum: bigint or interval out of range")
}

/// How sums are summed up.
enum Summed {
    Integers,
    Durations,
    /// By the engine.
    Otherwise,
}

impl Summed {
    fn of(args: &AccumulatorArgs<'_>) -> Self {
        match args.return_field.data_type() {
            _ if args.is_distinct => Self::Otherwise,
            DataType::Int64 => Self::Integers,
            DataType::Duration(TimeUnit::Microsecond) => Self::Durations,
            _ => Self::Otherwise,
        }
    }

    fn accumulator(&self) -> Option<Box<dyn Accumulator>> {
        match self {
            Self::Integers => Some(Box::new(WholeSum::<Int64Type>::new())),
            Self::Durations => Some(Box::new(WholeSum::<DurationMicrosecondType>::new())),
            Self::Otherwise => None,
        }
    }
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Summed::of(&args).accumulator().map_or_else(|| self.0.accumulator(args), Ok)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Summed::of(&args).accumulator().map_or_else(|| self.0.create_sliding_accumulator(args), Ok)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.0.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match Summed::of(&args) {
            Summed::Integers => Ok(Box::new(WholeSums::<Int64Type>::new())),
            Summed::Durations => Ok(Box::new(WholeSums::<DurationMicrosecondType>::new())),
            Summed::Otherwise => self.0.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.0.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.0.order_sensitivity()
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.0.value_from_stats(statistics)
    }
}

/// The sum of a group, or of the rows in a window.
#[derive(Debug)]
struct WholeSum<T> {
    sum: i128,
    values: u64,
    of: PhantomData<fn() -> T>,
}

impl<T: ArrowPrimitiveType<Native = i64>> WholeSum<T> {
    fn new() -> Self {
        Self { sum: 0, values: 0, of: PhantomData }
    }

    fn of(values: &ArrayRef) -> (i128, u64) {
        let values = values.as_primitive::<T>();
        let sum = values.iter().flatten().map(i128::from).sum();
        (sum, (values.len() - values.null_count()) as u64)
    }
}

impl<T: ArrowPrimitiveType<Native = i64> + Debug> Accumulator for WholeSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = Self::of(&values[0]);
        (self.sum, self.values) = (self.sum + sum, self.values + count);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = Self::of(&values[0]);
        (self.sum, self.values) = (self.sum - sum, self.values - count);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = i64::try_from(self.sum).map_err(|_| overflow())?;
        ScalarValue::new_primitive::<T>((self.values > 0).then_some(sum), &T::DATA_TYPE)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sums of all groups.
struct WholeSums<T> {
    sums: Vec<i64>,
    nulls: NullState,
    /// That a sum has: it is told when sums are asked for.
    has_overflown: bool,
    of: PhantomData<fn() -> T>,
}

impl<T> WholeSums<T> {
    fn new() -> Self {
        Self { sums: Vec::new(), nulls: NullState::new(), has_overflown: false, of: PhantomData }
    }
}

impl<T: ArrowPrimitiveType<Native = i64> + Send> GroupsAccumulator for WholeSums<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        let Self { sums, nulls, has_overflown, .. } = self;
        sums.resize(group_count, 0);
        nulls.accumulate(groups, values[0].as_primitive::<T>(), filter, group_count, |group, value| {
            let (sum, overflows) = sums[group].overflowing_add(value);
            sums[group] = sum;
            *has_overflown |= overflows;
        });
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<()> {
        self.update_batch(states, groups, None, group_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        if self.has_overflown {
            return Err(overflow());
        }
        let sums = emit_to.take_needed(&mut self.sums);
        Ok(Arc::new(PrimitiveArray::<T>::new(sums.into(), self.nulls.build(emit_to))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let passes = filter.map(|filter| {
            let is_true =
                filter.nulls().map_or_else(|| filter.values().clone(), |nulls| filter.values() & nulls.inner());
            NullBuffer::new(is_true)
        });
        let nulls = NullBuffer::union(values.nulls(), passes.as_ref());
        Ok(vec![Arc::new(PrimitiveArray::<T>::new(values.values().clone(), nulls))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i64>() + self.nulls.size()
    }
}
