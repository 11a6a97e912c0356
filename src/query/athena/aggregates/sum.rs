//! `sum`, which fails where integers overflow; the engine's wraps around.

use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef};
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

/// The engine's, but for sums of integers.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct CheckedSum(Sum);

fn overflow() -> DataFusionError {
    failed("bigint addition overflow in sum")
}

fn is_checked(args: &AccumulatorArgs<'_>) -> bool {
    !args.is_distinct && *args.return_field.data_type() == DataType::Int64
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
        if is_checked(&args) { Ok(Box::<IntegerSum>::default()) } else { self.0.accumulator(args) }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if is_checked(&args) { Ok(Box::<IntegerSum>::default()) } else { self.0.create_sliding_accumulator(args) }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.0.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        if !is_checked(&args) {
            return self.0.create_groups_accumulator(args);
        }
        Ok(Box::new(IntegerSums { sums: Vec::new(), nulls: NullState::new(), has_overflown: false }))
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
#[derive(Debug, Default)]
struct IntegerSum {
    sum: i128,
    values: u64,
}

impl IntegerSum {
    fn of(values: &ArrayRef) -> (i128, u64) {
        let values = values.as_primitive::<Int64Type>();
        let sum = values.iter().flatten().map(i128::from).sum();
        (sum, (values.len() - values.null_count()) as u64)
    }
}

impl Accumulator for IntegerSum {
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
        Ok(ScalarValue::Int64((self.values > 0).then_some(sum)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sums of all groups.
struct IntegerSums {
    sums: Vec<i64>,
    nulls: NullState,
    /// That a sum has: it is told when sums are asked for.
    has_overflown: bool,
}

impl GroupsAccumulator for IntegerSums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        let Self { sums, nulls, has_overflown } = self;
        sums.resize(group_count, 0);
        nulls.accumulate(groups, values[0].as_primitive::<Int64Type>(), filter, group_count, |group, value| {
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
        Ok(Arc::new(Int64Array::new(sums.into(), self.nulls.build(emit_to))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<Int64Type>();
        let passes = filter.map(|filter| {
            let is_true =
                filter.nulls().map_or_else(|| filter.values().clone(), |nulls| filter.values() & nulls.inner());
            NullBuffer::new(is_true)
        });
        let nulls = NullBuffer::union(values.nulls(), passes.as_ref());
        Ok(vec![Arc::new(Int64Array::new(values.values().clone(), nulls))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i64>() + self.nulls.size()
    }
}
