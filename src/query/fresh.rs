//! The fresh view of a source: the lake table and, beside it, the raw objects that the table has not consumed.
//!
//! ```text
//! list raw objects --diff with the ledger of a version--> candidates     (later versions have consumed these or fewer)
//! load the table again, once the listing is done        --> version V
//! candidates --diff with the ledger of V--> new objects
//! view = columns of V, widened  UNION ALL  new objects, decoded as a run would
//! ```
//!
//! So each object is on one side: the ledger of the very version that is read tells which. An object that was deleted once it
//! was consumed is in V, as V is loaded behind the listing that lacks it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast, lit,
};
use datafusion::scalar::ScalarValue;

use super::catalog::{LakeTables, LoadTable, Wanted, external};
use super::lake::{Lake, Ledger};
use super::raw::PATH;
use super::sources::{Fresh, RawSources};
use crate::error::ErrorKind;
use crate::json::convert;
use crate::lake::Table;
use crate::schema::{Field, Type, data_type};
use crate::write::NO_VALUES;

/// The fresh views of all sources.
#[derive(Debug)]
pub(super) struct FreshTables {
    pub(super) raw: Option<Arc<RawSources>>,
    pub(super) lake: Option<Arc<Lake>>,
}

#[async_trait]
impl LoadTable for FreshTables {
    async fn load(&self, wanted: Wanted<'_>) -> Result<Option<Arc<dyn TableProvider>>> {
        match (&self.raw, &self.lake) {
            // A version is what the table held then.
            (raw, Some(lake)) if raw.is_none() || wanted.version.is_some() => {
                LakeTables(Arc::clone(lake)).load(wanted).await
            }
            (Some(raw), Some(lake)) => load(raw, lake, wanted).await,
            (Some(raw), None) => {
                let source = wanted.without_version("raw")?.source;
                let Some(objects) = raw.new_objects(source, None).await.map_err(external)? else { return Ok(None) };
                let Fresh { raw, .. } = raw.fresh(source, None, objects).map_err(external)?;
                Ok(Some(Arc::new(if wanted.paths { raw.with_paths() } else { raw })))
            }
            (None, _) => Ok(None),
        }
    }
}

async fn load(raw: &RawSources, lake: &Lake, wanted: Wanted<'_>) -> Result<Option<Arc<dyn TableProvider>>> {
    let source = wanted.source;
    let ledger = match lake.opened(source).await {
        Ok((_, ledger)) => ledger,
        // Which of the objects are in the table of another writer cannot be told.
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let message = format!("{source} has no fresh view: {error}. There are lake.{source} and raw.{source}");
            return Err(DataFusionError::Plan(message));
        }
        Err(error) => return Err(external(error)),
    };
    let candidates = raw.new_objects(source, ledger.as_ref()).await.map_err(external)?;
    let before = ledger.map(|ledger| ledger.head.id);
    let (table, ledger) = lake.opened(source).await.map_err(external)?;
    let mut new = candidates.unwrap_or_default();
    if ledger.as_ref().map(|ledger| ledger.head.id) != before {
        new = raw.still_new(source, ledger.as_ref(), new).await.map_err(external)?;
    }
    let Some(ledger) = ledger else {
        let Fresh { raw, .. } = raw.fresh(source, None, new).map_err(external)?;
        return Ok(Some(Arc::new(if wanted.paths { raw.with_paths() } else { raw })));
    };
    if new.is_empty() {
        return lake.provider(&table, wanted.paths);
    }
    let fresh = raw.fresh(source, Some(&ledger), new).map_err(external)?;
    let view = view(lake, &table, &ledger, fresh, wanted.paths)?;
    Ok(Some(Arc::new(ViewTable::new(view, None))))
}

/// Both sides under one another, in the columns of `fresh`.
fn view(lake: &Lake, table: &Table, ledger: &Ledger, fresh: Fresh, with_paths: bool) -> Result<LogicalPlan> {
    let Some(provider) = lake.provider(table, with_paths)? else {
        return Err(DataFusionError::Internal("a ledger without a table".to_owned()));
    };
    let logged = provider.schema();
    let stored = &ledger.registry.fields;
    let mut others = ledger.registry.partitioning.names();
    others.extend(with_paths.then(|| PATH.to_owned()));
    let column = |side: &str, name: &str| Expr::Column(Column::new(Some(side), name));

    let from_lake = fresh.fields.iter().map(|field| {
        let name = &field.name;
        let is_foreign =
            |ty: &Type| logged.field_with_name(name).is_ok_and(|field| *field.data_type() == data_type(ty));
        match stored.iter().find(|old| old.name == *name) {
            // Another engine has added it before.
            None if is_foreign(&field.ty) => Ok(column("lake", name).alias(name)),
            None if logged.column_with_name(name).is_some() => Err(DataFusionError::Plan(format!(
                "another engine has given the table a column {name} of another type than new records have; a run would \
                 refuse them. There are lake and raw"
            ))),
            None => Ok(cast(lit(ScalarValue::Null), data_type(&field.ty)).alias(name)),
            Some(old) if is_same(&old.ty, &field.ty) => Ok(column("lake", name).alias(name)),
            Some(old) => {
                let widen = ScalarUDF::new_from_impl(Widen::new(old.ty.clone(), field.ty.clone()));
                Ok(widen.call(vec![column("lake", name)]).alias(name))
            }
        }
    });
    let mut from_lake: Vec<Expr> = from_lake.collect::<Result<_>>()?;
    from_lake.extend(others.iter().map(|name| column("lake", name).alias(name)));
    let names = fresh.fields.iter().map(|field: &Field| &field.name).chain(&others);
    let mut from_raw: Vec<Expr> = names.clone().map(|name| column("raw", name).alias(name)).collect();
    // Columns of other engines stay, as they do in a run.
    let is_foreign = |field: &&FieldRef| field.name() != NO_VALUES && names.clone().all(|name| name != field.name());
    for foreign in logged.fields().iter().filter(is_foreign) {
        from_lake.push(column("lake", foreign.name()).alias(foreign.name()));
        from_raw.push(cast(lit(ScalarValue::Null), foreign.data_type().clone()).alias(foreign.name()));
    }

    let lake_side = LogicalPlanBuilder::scan("lake", provider_as_source(provider), None)?.project(from_lake)?;
    let raw = if with_paths { fresh.raw.with_paths() } else { fresh.raw };
    let raw_side = LogicalPlanBuilder::scan("raw", provider_as_source(Arc::new(raw)), None)?.project(from_raw)?;
    lake_side.union(raw_side.build()?)?.build()
}

/// Whether values of both types are stored alike.
fn is_same(from: &Type, to: &Type) -> bool {
    match (from, to) {
        (Type::Timestamp { .. }, Type::Timestamp { .. }) => true,
        (Type::Struct(from), Type::Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| from.name == to.name && is_same(&from.ty, &to.ty))
        }
        (Type::List(from), Type::List(to)) | (Type::Map(from), Type::Map(to)) => is_same(from, to),
        (from, to) => from == to,
    }
}

/// Gives stored values in a wider type, as a promotion from Parquet does.
#[derive(Debug, PartialEq, Eq)]
struct Widen {
    from: Type,
    to: Type,
    signature: Signature,
}

impl Widen {
    fn new(from: Type, to: Type) -> Self {
        let signature = Signature::exact(vec![data_type(&from)], Volatility::Immutable);
        Self { from, to, signature }
    }
}

impl Hash for Widen {
    fn hash<H: Hasher>(&self, state: &mut H) {
        data_type(&self.from).hash(state);
        data_type(&self.to).hash(state);
    }
}

impl ScalarUDFImpl for Widen {
    fn name(&self) -> &'static str {
        "__widen"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(data_type(&self.to))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let array = arrays.first().ok_or_else(|| DataFusionError::Internal("__widen takes a column".to_owned()))?;
        Ok(ColumnarValue::Array(convert(array, &self.from, &self.to)?))
    }
}
