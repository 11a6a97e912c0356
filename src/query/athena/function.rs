//! A scalar function of the dialect: what it takes, what it gives, and a body over arrays.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::types::{list_of, type_name};

/// What an argument is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arg {
    Text,
    Int,
    Double,
    /// A date, or a timestamp in microseconds.
    Time,
    /// A timestamp in microseconds; a date is taken for its midnight.
    Moment,
    List,
    Any,
}

impl Arg {
    /// The type that a value of this type is cast to; `None` when it is not taken.
    fn coerce(self, data_type: &DataType) -> Option<DataType> {
        let is_null = data_type.is_null();
        Some(match (self, data_type) {
            (Self::Any, _) => data_type.clone(),
            (Self::Text, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => DataType::Utf8,
            (Self::Text, DataType::Dictionary(_, values)) => return self.coerce(values),
            (Self::Text, _) if is_null => DataType::Utf8,
            (Self::Int, _) if data_type.is_integer() || is_null => DataType::Int64,
            (Self::Double, _) if data_type.is_numeric() || is_null => DataType::Float64,
            (Self::Time, DataType::Date32 | DataType::Date64) => DataType::Date32,
            (Self::Time | Self::Moment, DataType::Timestamp(_, zone)) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            (Self::Moment, DataType::Date32 | DataType::Date64) => DataType::Timestamp(TimeUnit::Microsecond, None),
            (Self::Time | Self::Moment, _) if is_null => DataType::Timestamp(TimeUnit::Microsecond, None),
            (Self::List, DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) => {
                DataType::List(Arc::clone(item))
            }
            (Self::List, _) if is_null => list_of(DataType::Null),
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "varchar",
            Self::Int => "bigint",
            Self::Double => "double",
            Self::Time | Self::Moment => "date or timestamp",
            Self::List => "array",
            Self::Any => "any type",
        }
    }
}

/// Which arguments are taken.
pub(super) enum Takes {
    /// These; those behind the number given may be left out.
    These(&'static [Arg], usize),
    /// What a function of the types makes of them.
    By(fn(&[DataType]) -> Result<Vec<DataType>>),
}

/// Of which type the result is.
pub(super) enum Gives {
    This(DataType),
    /// By the types of the arguments, and their values where they are literals.
    By(fn(&[DataType], &[Option<&ScalarValue>]) -> Result<DataType>),
}

/// The type of the first argument.
pub(super) fn same_as_first(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    types.first().cloned().ok_or_else(|| failed("an argument is missing"))
}

type Body = dyn Fn(&[ArrayRef], &DataType) -> Result<ArrayRef> + Send + Sync;
/// Gives an equal expression that the engine knows better.
pub(super) type Simplify = fn(Vec<Expr>, &SimplifyContext) -> Result<ExprSimplifyResult>;

struct Function {
    name: &'static str,
    takes: Takes,
    gives: Gives,
    body: Box<Body>,
    simplify: Option<Simplify>,
    preimage: Option<Preimage>,
    signature: Signature,
}

/// A function of the dialect. Its body is given arrays of one length.
pub(super) fn function(
    name: &'static str,
    takes: Takes,
    gives: Gives,
    body: impl Fn(&[ArrayRef], &DataType) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    simplified(name, takes, gives, None, body)
}

/// A function that may be replaced by an expression.
pub(super) fn simplified(
    name: &'static str,
    takes: Takes,
    gives: Gives,
    simplify: Option<Simplify>,
    body: impl Fn(&[ArrayRef], &DataType) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    new(name, takes, gives, simplify, None, body)
}

/// Gives the first value of the first argument that has this result, and the first behind these that has not.
pub(super) type Preimage = fn(&[Expr], &ScalarValue) -> Option<(ScalarValue, ScalarValue)>;

/// A function of which it is known what its results are made of: conditions on them become conditions on its first argument.
pub(super) fn invertible(
    name: &'static str,
    takes: Takes,
    gives: Gives,
    preimage: Preimage,
    body: impl Fn(&[ArrayRef], &DataType) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    new(name, takes, gives, None, Some(preimage), body)
}

fn new(
    name: &'static str,
    takes: Takes,
    gives: Gives,
    simplify: Option<Simplify>,
    preimage: Option<Preimage>,
    body: impl Fn(&[ArrayRef], &DataType) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::new_from_impl(Function { name, takes, gives, body: Box::new(body), simplify, preimage, signature })
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

// There is one function of each name.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match &self.gives {
            Gives::This(data_type) => Ok(data_type.clone()),
            Gives::By(by) => by(types, &vec![None; types.len()]),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let data_type = match &self.gives {
            Gives::This(data_type) => data_type.clone(),
            Gives::By(by) => {
                let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
                by(&types, args.scalar_arguments)?
            }
        };
        Ok(Arc::new(Field::new(self.name, data_type, true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match &self.takes {
            Takes::By(by) => by(types),
            Takes::These(args, required) => {
                if types.len() < *required || types.len() > args.len() {
                    let numbers = if *required == args.len() {
                        required.to_string()
                    } else {
                        format!("{required} to {}", args.len())
                    };
                    return Err(wrong(format!("{} takes {numbers} arguments, not {}", self.name, types.len())));
                }
                let coerce = |(index, (arg, data_type)): (usize, (&Arg, &DataType))| {
                    arg.coerce(data_type).ok_or_else(|| {
                        let (place, given) = (index + 1, type_name(data_type));
                        wrong(format!("{} takes {} as argument {place}, not {given}", self.name, arg.name()))
                    })
                };
                args.iter().zip(types).enumerate().map(coerce).collect()
            }
        }
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match self.simplify {
            Some(simplify) => simplify(args, context),
            None => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn preimage(&self, args: &[Expr], result: &Expr, _: &SimplifyContext) -> Result<PreimageResult> {
        let (Some(preimage), Expr::Literal(value, _), [first, ..]) = (self.preimage, result, args) else {
            return Ok(PreimageResult::None);
        };
        let Some((lower, upper)) = preimage(args, value) else { return Ok(PreimageResult::None) };
        let interval = Box::new(Interval::try_new(lower, upper)?);
        Ok(PreimageResult::Range { expr: first.clone(), interval })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let arrays: Vec<ArrayRef> = args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<Result<_>>()?;
        let out = (self.body)(&arrays, args.return_field.data_type())?;
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&out, 0)?));
        }
        Ok(ColumnarValue::Array(out))
    }
}

/// A wrong statement.
pub(super) fn wrong(message: impl Into<String>) -> DataFusionError {
    DataFusionError::Plan(message.into())
}

/// A value that a function does not take.
pub(super) fn failed(message: impl Into<String>) -> DataFusionError {
    DataFusionError::Execution(message.into())
}

/// One result for each row, null where an argument is null.
pub(super) fn by_row<T, O: FromIterator<Option<T>>>(
    args: &[ArrayRef],
    mut row: impl FnMut(usize) -> Result<Option<T>>,
) -> Result<O> {
    let rows = args.first().map_or(0, arrow::array::Array::len);
    (0..rows).map(|index| if args.iter().any(|arg| arg.is_null(index)) { Ok(None) } else { row(index) }).collect()
}

/// An argument that is text.
pub(super) fn texts(arg: &ArrayRef) -> &StringArray {
    arg.as_string::<i32>()
}

/// What was last made of a text, for most texts are the same in all rows.
pub(super) struct Last<T> {
    text: String,
    made: Option<T>,
}

impl<T> Last<T> {
    pub(super) fn new() -> Self {
        Self { text: String::new(), made: None }
    }

    pub(super) fn get(&mut self, text: &str, make: impl FnOnce(&str) -> Result<T>) -> Result<&T> {
        if self.made.is_some() && self.text != text {
            self.made = None;
        }
        match &mut self.made {
            Some(made) => Ok(made),
            empty => {
                text.clone_into(&mut self.text);
                Ok(empty.insert(make(text)?))
            }
        }
    }
}
