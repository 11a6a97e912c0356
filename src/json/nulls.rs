//! Arrays of nothing but nulls, which all columns of a batch share that have no value: rows with few of many keys, or of a
//! struct of which few fields are read, would else hold most of their memory for what is not there.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, StructArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// Gives such arrays, and keeps the longest of each type; structs are made of those of their fields.
#[derive(Debug, Default)]
pub struct Nulls {
    arrays: HashMap<DataType, ArrayRef>,
    validity: Option<NullBuffer>,
}

impl Nulls {
    /// An array of `rows` nulls of type `ty`.
    ///
    /// # Errors
    /// When Arrow refuses the parts of a struct.
    pub fn array(&mut self, ty: &DataType, rows: usize) -> Result<ArrayRef, ArrowError> {
        if let DataType::Struct(fields) = ty {
            let children = fields.iter().map(|field| self.array(field.data_type(), rows)).collect::<Result<_, _>>()?;
            let validity = Some(self.validity(rows));
            return Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), children, validity, rows)?));
        }
        if let Some(array) = self.arrays.get(ty).filter(|array| array.len() >= rows) {
            return Ok(array.slice(0, rows));
        }
        let array = new_null_array(ty, rows);
        self.arrays.insert(ty.clone(), Arc::clone(&array));
        Ok(array)
    }

    fn validity(&mut self, rows: usize) -> NullBuffer {
        match &self.validity {
            Some(validity) if validity.len() >= rows => validity.slice(0, rows),
            _ => self.validity.insert(NullBuffer::new_null(rows)).clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use arrow::array::AsArray as _;
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::schema::{Field, Type, data_type};

    #[test]
    fn structs_of_other_shapes_share_what_they_hold() {
        let field = |name: &str, ty: Type| Field { name: name.to_owned(), keys: vec![name.to_owned()], ty };
        let mut none = Nulls::default();
        let long = none.array(&DataType::Int64, 1000).unwrap();
        let inner = Type::Struct(vec![field("a", Type::Int64), field("b", Type::Text)]);
        for (ty, rows) in [(inner.clone(), 1000), (Type::Struct(vec![field("s", inner), field("n", Type::Int64)]), 10)]
        {
            let ty = data_type(&ty);
            let array = none.array(&ty, rows).unwrap();
            assert_eq!((array.len(), array.null_count(), array.data_type()), (rows, rows, &ty));
            array.to_data().validate_full().unwrap();
            let (mut part, mut is_int) = (&array, false);
            while !is_int {
                let columns = part.as_struct().columns();
                part = columns
                    .iter()
                    .find(|column| column.as_primitive_opt::<Int64Type>().is_some())
                    .unwrap_or(&columns[0]);
                is_int = part.as_primitive_opt::<Int64Type>().is_some();
            }
            let values = |array: &ArrayRef| array.as_primitive::<Int64Type>().values().as_ptr();
            assert_eq!(values(part), values(&long));
        }
    }
}
