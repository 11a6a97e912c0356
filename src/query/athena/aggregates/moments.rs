//! `skewness` and `kurtosis`, by central moments: of a group and another, those of both are known without their values.

use std::sync::Arc;

use arrow::array::types::Float64Type;
use arrow::array::{ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility};

pub(super) fn functions() -> [AggregateUDF; 2] {
    [("skewness", Moments::skewness as fn(&Moments) -> _), ("kurtosis", Moments::kurtosis)].map(|(name, result)| {
        let signature = Signature::new(TypeSignature::Exact(vec![DataType::Float64]), Volatility::Immutable);
        AggregateUDF::new_from_impl(Shape { name, result, signature })
    })
}

type ShapeOf = fn(&Moments) -> Option<f64>;

#[derive(Debug)]
struct Shape {
    name: &'static str,
    result: ShapeOf,
    signature: Signature,
}

// There is one function of each name.
impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Shape {}

impl std::hash::Hash for Shape {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for Shape {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Shaped { moments: Moments::default(), result: self.result }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |name| Arc::new(Field::new(format!("{}_{name}", args.name), DataType::Float64, true));
        Ok(["count", "mean", "m2", "m3", "m4"].map(field).into())
    }
}

/// How many values there are, their mean, and the sums of their differences from it to the second, third and fourth power.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    m2: f64,
    m3: f64,
    m4: f64,
}

impl Moments {
    fn of(value: f64) -> Self {
        Self { count: 1.0, mean: value, ..Self::default() }
    }

    /// Pebay, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments", 2008.
    fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = *other;
            return;
        }
        let (a, b) = (*self, *other);
        let count = a.count + b.count;
        let delta = b.mean - a.mean;
        let part = delta / count;
        self.count = count;
        self.mean = a.mean + b.count * part;
        self.m2 = a.m2 + b.m2 + delta * part * a.count * b.count;
        self.m3 = a.m3
            + b.m3
            + delta * part * part * a.count * b.count * (a.count - b.count)
            + 3.0 * part * (a.count * b.m2 - b.count * a.m2);
        self.m4 = a.m4
            + b.m4
            + delta * part.powi(3) * a.count * b.count * (a.count * a.count - a.count * b.count + b.count * b.count)
            + 6.0 * part * part * (a.count * a.count * b.m2 + b.count * b.count * a.m2)
            + 4.0 * part * (a.count * b.m3 - b.count * a.m3);
    }

    /// Of three values and more.
    fn skewness(&self) -> Option<f64> {
        (self.count >= 3.0).then(|| self.count.sqrt() * self.m3 / self.m2.powf(1.5))
    }

    /// Excess kurtosis of a sample of four values and more.
    fn kurtosis(&self) -> Option<f64> {
        let n = self.count;
        let pairs = (n - 2.0) * (n - 3.0);
        (n >= 4.0).then(|| {
            (n - 1.0) * n * (n + 1.0) / pairs * self.m4 / (self.m2 * self.m2) - 3.0 * (n - 1.0) * (n - 1.0) / pairs
        })
    }
}

#[derive(Debug)]
struct Shaped {
    moments: Moments,
    result: ShapeOf,
}

impl Accumulator for Shaped {
    fn update_batch(&mut self, args: &[ArrayRef]) -> Result<()> {
        let values = args[0].as_primitive::<Float64Type>();
        values.iter().flatten().for_each(|value| self.moments.merge(&Moments::of(value)));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let part = |index: usize, row| states[index].as_primitive::<Float64Type>().value(row);
        for row in 0..states[0].len() {
            let [count, mean, m2, m3, m4] = [0, 1, 2, 3, 4].map(|index| part(index, row));
            self.moments.merge(&Moments { count, mean, m2, m3, m4 });
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let Moments { count, mean, m2, m3, m4 } = self.moments;
        Ok([count, mean, m2, m3, m4].map(|part| ScalarValue::Float64(Some(part))).into())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64((self.result)(&self.moments)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
