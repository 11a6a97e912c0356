//! `max_by` and `min_by` over windows; elsewhere they are written as an ordered `first_value`, which is faster.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

/// The value of the row with the largest or the smallest key.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct BestBy {
    name: &'static str,
    /// How a key compares to those that it beats.
    better: Ordering,
    signature: Signature,
}

impl BestBy {
    pub(super) fn new(name: &'static str, better: Ordering) -> Self {
        Self { name, better, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for BestBy {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let null = |index: usize| ScalarValue::try_from(args.expr_fields[index].data_type());
        Ok(Box::new(Best { better: self.better, value: null(0)?, key: null(1)? }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |name: &str, index: usize| {
            let data_type = args.input_fields[index].data_type().clone();
            Arc::new(Field::new(format!("{}_{name}", args.name), data_type, true))
        };
        Ok(vec![field("value", 0), field("key", 1)])
    }
}

#[derive(Debug)]
struct Best {
    better: Ordering,
    value: ScalarValue,
    key: ScalarValue,
}

impl Accumulator for Best {
    fn update_batch(&mut self, args: &[ArrayRef]) -> Result<()> {
        for row in (0..args[1].len()).filter(|row| !args[1].is_null(*row)) {
            let key = ScalarValue::try_from_array(&args[1], row)?;
            if self.key.is_null() || key.partial_cmp(&self.key) == Some(self.better) {
                self.key = key;
                self.value = ScalarValue::try_from_array(&args[0], row)?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), self.key.clone()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size() + self.key.size()
    }
}
