//! `approx_percentile` by DataFusion's t-digest, with results of the type of the values.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::approx_percentile_cont::approx_percentile_cont_udaf;
use datafusion::functions_aggregate::approx_percentile_cont_with_weight::approx_percentile_cont_with_weight_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use crate::query::athena::function::wrong;

/// `(x, percentage)` or `(x, weight, percentage)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ApproxPercentile {
    signature: Signature,
}

impl ApproxPercentile {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for ApproxPercentile {
    fn name(&self) -> &str {
        "approx_percentile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if !(2..=3).contains(&types.len())
            || !types.iter().all(|data_type| data_type.is_numeric() || data_type.is_null())
        {
            return Err(wrong("approx_percentile takes numbers: a value, a weight if there is one, and a percentage"));
        }
        let value = if types[0].is_integer() { DataType::Int64 } else { DataType::Float64 };
        let mut all = vec![value];
        all.resize(types.len(), DataType::Float64);
        Ok(all)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let data_type = args.expr_fields[0].data_type().clone();
        let fields = as_doubles(args.expr_fields);
        let args = AccumulatorArgs { expr_fields: &fields, ..args };
        let inner = match args.exprs.len() {
            2 => approx_percentile_cont_udaf().accumulator(args)?,
            _ => approx_percentile_cont_with_weight_udaf().accumulator(args)?,
        };
        Ok(Box::new(Rounded { inner, data_type }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let fields = as_doubles(args.input_fields);
        let args = StateFieldsArgs { input_fields: &fields, ..args };
        match args.input_fields.len() {
            2 => approx_percentile_cont_udaf().state_fields(args),
            _ => approx_percentile_cont_with_weight_udaf().state_fields(args),
        }
    }
}

/// The digest is one of doubles.
fn as_doubles(fields: &[FieldRef]) -> Vec<FieldRef> {
    fields.iter().map(|field| Arc::new(field.as_ref().clone().with_data_type(DataType::Float64))).collect()
}

#[derive(Debug)]
struct Rounded {
    inner: Box<dyn Accumulator>,
    data_type: DataType,
}

impl Accumulator for Rounded {
    fn update_batch(&mut self, args: &[ArrayRef]) -> Result<()> {
        let mut args = args.to_vec();
        args[0] = cast(&args[0], &DataType::Float64)?;
        self.inner.update_batch(&args)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.inner.evaluate()? {
            ScalarValue::Float64(Some(value)) if self.data_type == DataType::Int64 => {
                Ok(ScalarValue::Int64(Some(value.round() as i64)))
            }
            other => other.cast_to(&self.data_type),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}
