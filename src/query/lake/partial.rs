//! Columns of which only some fields are read: the others are null, and their pages stay unread.
//!
//! ```text
//! partial(CAST(actor AS {login}))    what the Parquet reader takes for: read no other leaf
//! ```

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use datafusion::physical_plan::PhysicalExpr;

use crate::json::Nulls;
use crate::query::parts::Part;

/// The column at `index`, of type `field`, of which only `part` is there.
///
/// # Errors
/// When a type has no null.
pub(super) fn partial(index: usize, field: &FieldRef, part: &Part) -> Result<Arc<dyn PhysicalExpr>> {
    let Some(there) = clip(field.data_type(), part) else {
        return Ok(Arc::new(Literal::new(ScalarValue::try_from(field.data_type())?)));
    };
    let function = Partial::new(field.data_type().clone(), part.clone());
    // Files that have all columns as the table has them get the expression as it is.
    let column = Arc::new(CastExpr::new(Arc::new(Column::new(field.name(), index)), there, None));
    let nullable = field.as_ref().clone().with_nullable(true);
    Ok(call(function, column, Arc::new(nullable)))
}

fn call(function: Partial, of: Arc<dyn PhysicalExpr>, field: FieldRef) -> Arc<dyn PhysicalExpr> {
    let function = Arc::new(ScalarUDF::new_from_impl(function));
    Arc::new(ScalarFunctionExpr::new(NAME, function, vec![of], field, Arc::new(ConfigOptions::default())))
}

const NAME: &str = "__partial";

/// Gives what is there of a column the type of the whole column.
#[derive(Debug, PartialEq, Eq)]
struct Partial {
    ty: DataType,
    part: Part,
    signature: Signature,
}

impl Partial {
    fn new(ty: DataType, part: Part) -> Self {
        Self { ty, part, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl Hash for Partial {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ty.hash(state);
    }
}

impl ScalarUDFImpl for Partial {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.ty.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let array = arrays.first().ok_or_else(|| DataFusionError::Internal(format!("{NAME} takes a column")))?;
        Ok(ColumnarValue::Array(fill(array, &self.ty, &mut Nulls::default())?))
    }
}

/// `array` as one of type `ty`, which may have more fields: null.
fn fill(array: &ArrayRef, ty: &DataType, none: &mut Nulls) -> Result<ArrayRef> {
    let (DataType::Struct(fields), Some(there)) = (ty, array.as_struct_opt()) else { return Ok(Arc::clone(array)) };
    if array.data_type() == ty {
        return Ok(Arc::clone(array));
    }
    let columns = fields.iter().map(|field| match there.column_by_name(field.name()) {
        Some(column) => fill(column, field.data_type(), none),
        None => Ok(none.array(field.data_type(), array.len())?),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let fields = fields.clone();
    Ok(Arc::new(StructArray::try_new_with_length(fields, columns, there.nulls().cloned(), array.len())?))
}

/// Has each file read no more of a column than is wanted of it, and there.
#[derive(Debug)]
pub(super) struct PartialColumns;

impl PhysicalExprAdapterFactory for PartialColumns {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let whole = DefaultPhysicalExprAdapterFactory.create(table, Arc::clone(&file))?;
        Ok(Arc::new(Adapter { whole, file }))
    }
}

#[derive(Debug)]
struct Adapter {
    /// Gives whole columns of the file as the table has them.
    whole: Arc<dyn PhysicalExprAdapter>,
    file: SchemaRef,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let whole = self.whole.rewrite(expr)?;
        let narrow = whole.transform_down(|expr| match ScalarFunctionExpr::try_downcast_func::<Partial>(&*expr) {
            Some(call) => Ok(Transformed::new(self.narrow(call)?, true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(expr)),
        });
        narrow.data()
    }
}

impl Adapter {
    fn narrow(&self, given: &ScalarFunctionExpr) -> Result<Arc<dyn PhysicalExpr>> {
        let wrong = || DataFusionError::Internal(format!("{NAME} is not of a column"));
        let partial = given.fun().inner().downcast_ref::<Partial>().ok_or_else(wrong)?;
        let null = || Ok(Arc::new(Literal::new(ScalarValue::try_from(&partial.ty)?)) as Arc<dyn PhysicalExpr>);
        let mut of = given.args().first().ok_or_else(wrong)?;
        while let Some(cast) = of.downcast_ref::<CastExpr>() {
            of = cast.expr();
        }
        // The file has no such column.
        let Some(column) = of.downcast_ref::<Column>() else { return null() };
        let field = self.file.field(column.index());
        // Nobody asks whether the struct itself is there: then all of it is wanted.
        let Some(there) = clip(field.data_type(), &partial.part) else { return null() };
        let column: Arc<dyn PhysicalExpr> = Arc::new(column.clone());
        let column = if there == *field.data_type() { column } else { Arc::new(CastExpr::new(column, there, None)) };
        let (function, field) =
            (Partial::new(partial.ty.clone(), partial.part.clone()), given.return_field(&self.file)?);
        Ok(call(function, column, field))
    }
}

/// The type of `part` of a column of type `ty`; `None` when there is nothing of it.
fn clip(ty: &DataType, part: &Part) -> Option<DataType> {
    let (DataType::Struct(fields), Part::Fields(wanted)) = (ty, part) else { return Some(ty.clone()) };
    let kept = fields.iter().filter_map(|field| {
        let ty = clip(field.data_type(), wanted.get(field.name())?)?;
        Some(field.as_ref().clone().with_data_type(ty))
    });
    let kept: Vec<Field> = kept.collect();
    if kept.is_empty() { None } else { Some(DataType::Struct(kept.into())) }
}
