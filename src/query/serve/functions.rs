//! Functions that clients ask the catalogue for, besides those of datafusion-pg-catalog.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray as _, BooleanArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::settings::{SERVER_VERSION, Settings, show};
use super::tables::is_visible;

/// Rights that all have; those to write nobody has.
const READS: [&str; 3] = ["SELECT", "USAGE", "CONNECT"];

/// What a function gives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Gives {
    /// Always this.
    Value(ScalarValue),
    /// Whether the table of this number is found without its schema.
    IsVisible,
    /// The setting of this name.
    Setting,
    /// Its second argument.
    Second,
    /// Whether the right that its last argument names is one to read.
    Right,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    gives: Gives,
    signature: Signature,
}

/// Teaches a context the functions.
pub(super) fn register(context: &SessionContext) {
    let no_text = || Gives::Value(ScalarValue::Utf8(None));
    let truth = |truth: bool| Gives::Value(truth.into());
    let version = format!("PostgreSQL {SERVER_VERSION}");
    let functions = [
        ("version", Gives::Value(version.as_str().into())),
        ("pg_table_is_visible", Gives::IsVisible),
        ("current_setting", Gives::Setting),
        ("set_config", Gives::Second),
        ("has_table_privilege", Gives::Right),
        ("has_any_column_privilege", Gives::Right),
        ("has_column_privilege", Gives::Right),
        ("has_schema_privilege", Gives::Right),
        ("has_database_privilege", Gives::Right),
        ("obj_description", no_text()),
        ("col_description", no_text()),
        ("shobj_description", no_text()),
        ("pg_get_viewdef", no_text()),
        ("pg_get_indexdef", no_text()),
        ("pg_get_ruledef", no_text()),
        ("pg_get_triggerdef", no_text()),
        ("pg_get_functiondef", no_text()),
        ("pg_get_function_result", no_text()),
        ("pg_get_function_arguments", no_text()),
        ("pg_get_function_identity_arguments", no_text()),
        ("pg_get_serial_sequence", no_text()),
        ("pg_tablespace_location", no_text()),
        ("json_build_object", no_text()),
        ("inet_server_addr", no_text()),
        ("pg_is_in_recovery", truth(false)),
        ("pg_is_other_temp_schema", truth(false)),
        ("pg_type_is_visible", truth(true)),
        ("pg_function_is_visible", truth(true)),
        ("pg_advisory_unlock_all", no_text()),
        ("pg_collation_is_visible", truth(true)),
        ("pg_my_temp_schema", Gives::Value(0_i32.into())),
        ("txid_current", Gives::Value(1_i64.into())),
        ("pg_get_userbyid", Gives::Value("siltstone".into())),
        ("pg_size_pretty", no_text()),
        ("pg_table_size", Gives::Value(ScalarValue::Int64(None))),
        ("pg_database_size", Gives::Value(ScalarValue::Int64(None))),
        ("pg_char_to_encoding", Gives::Value(6_i32.into())),
        ("to_regtype", Gives::Value(ScalarValue::Int32(None))),
        ("to_regclass", Gives::Value(ScalarValue::Int32(None))),
    ];
    for (name, gives) in functions {
        // None of them depends on types.
        let any = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
        let function = Function { name, gives, signature: Signature::new(any, Volatility::Immutable) };
        context.register_udf(ScalarUDF::new_from_impl(function));
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match &self.gives {
            Gives::Value(value) => value.data_type(),
            Gives::IsVisible | Gives::Right => DataType::Boolean,
            Gives::Setting | Gives::Second => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = match &self.gives {
            Gives::Value(value) => return Ok(ColumnarValue::Scalar(value.clone())),
            _ => ColumnarValue::values_to_arrays(&args.args)?,
        };
        let argument = |index: usize, ty: &DataType| match arrays.get(index) {
            Some(array) => Ok(cast(array, ty)?),
            None => ScalarValue::try_new_null(ty)?.to_array_of_size(args.number_rows),
        };
        let array: ArrayRef = match self.gives {
            Gives::IsVisible => {
                let numbers = argument(0, &DataType::Int64)?;
                let visible = numbers.as_primitive::<Int64Type>().iter().map(|oid| oid.map(is_visible));
                Arc::new(visible.collect::<BooleanArray>())
            }
            Gives::Setting => {
                let names = argument(0, &DataType::Utf8)?;
                let settings = Settings::new();
                let values = names.as_string::<i32>().iter().map(|name| show(&settings, name?));
                Arc::new(values.collect::<StringArray>())
            }
            Gives::Right => {
                let rights = argument(arrays.len().saturating_sub(1), &DataType::Utf8)?;
                let is_to_read = |right: &str| READS.iter().any(|read| right.to_uppercase().contains(read));
                let is_held = rights.as_string::<i32>().iter().map(|right| right.map(is_to_read));
                Arc::new(is_held.collect::<BooleanArray>())
            }
            _ => argument(1, &DataType::Utf8)?,
        };
        Ok(ColumnarValue::Array(array))
    }
}
