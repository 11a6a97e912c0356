//! The schema information_schema, with types as PostgreSQL names them.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::Result;
use datafusion::scalar::ScalarValue;
use pgwire::api::Type;

use super::tables::{Column, NAMESPACES, Row, Table, Tables, table_of};
use crate::query::session::CATALOG;

/// The views that are there, with their columns; those that end with `#` are numbers.
const VIEWS: [(&str, &str); 19] = [
    ("schemata", "catalog_name schema_name schema_owner default_character_set_name sql_path"),
    (
        "tables",
        "table_catalog table_schema table_name table_type self_referencing_column_name reference_generation \
         user_defined_type_catalog user_defined_type_schema user_defined_type_name is_insertable_into is_typed \
         commit_action",
    ),
    (
        "columns",
        "table_catalog table_schema table_name column_name ordinal_position# column_default is_nullable data_type \
         character_maximum_length# character_octet_length# numeric_precision# numeric_precision_radix# numeric_scale# \
         datetime_precision# interval_type character_set_name collation_name domain_name udt_catalog udt_schema \
         udt_name is_identity identity_generation is_generated generation_expression is_updatable",
    ),
    ("views", "table_catalog table_schema table_name view_definition check_option is_updatable"),
    (
        "table_constraints",
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema table_name constraint_type \
         is_deferrable initially_deferred enforced",
    ),
    (
        "key_column_usage",
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema table_name column_name \
         ordinal_position# position_in_unique_constraint#",
    ),
    (
        "referential_constraints",
        "constraint_catalog constraint_schema constraint_name unique_constraint_catalog unique_constraint_schema \
         unique_constraint_name match_option update_rule delete_rule",
    ),
    (
        "constraint_column_usage",
        "table_catalog table_schema table_name column_name constraint_catalog constraint_schema constraint_name",
    ),
    (
        "character_sets",
        "character_set_catalog character_set_schema character_set_name character_repertoire form_of_use",
    ),
    ("table_privileges", PRIVILEGES),
    ("role_table_grants", PRIVILEGES),
    (
        "column_privileges",
        "grantor grantee table_catalog table_schema table_name column_name privilege_type is_grantable",
    ),
    (
        "sequences",
        "sequence_catalog sequence_schema sequence_name data_type numeric_precision# numeric_precision_radix# \
         numeric_scale# start_value minimum_value maximum_value increment cycle_option",
    ),
    (
        "routines",
        "specific_catalog specific_schema specific_name routine_catalog routine_schema routine_name routine_type \
         data_type type_udt_name routine_body routine_definition external_language is_deterministic security_type",
    ),
    (
        "parameters",
        "specific_catalog specific_schema specific_name ordinal_position# parameter_mode parameter_name data_type \
         udt_name parameter_default",
    ),
    (
        "triggers",
        "trigger_catalog trigger_schema trigger_name event_manipulation event_object_catalog event_object_schema \
         event_object_table action_order# action_condition action_statement action_orientation action_timing",
    ),
    (
        "element_types",
        "object_catalog object_schema object_name object_type collection_type_identifier data_type udt_name",
    ),
    ("domains", "domain_catalog domain_schema domain_name data_type domain_default udt_name"),
    ("check_constraints", "constraint_catalog constraint_schema constraint_name check_clause"),
];

const PRIVILEGES: &str =
    "grantor grantee table_catalog table_schema table_name privilege_type is_grantable with_hierarchy";

/// The schema information_schema.
#[derive(Debug)]
pub(super) struct Information {
    pub(super) tables: Arc<Tables>,
}

impl Information {
    /// The views with their columns.
    pub(super) fn schemas(&self) -> impl Iterator<Item = (String, SchemaRef)> {
        VIEWS.iter().map(|(name, columns)| ((*name).to_owned(), schema(columns)))
    }
}

/// Columns by their names; those that end with `#` are numbers.
pub(super) fn schema(columns: &str) -> SchemaRef {
    let fields = columns.split_whitespace().map(|name| match name.strip_suffix('#') {
        Some(name) => Field::new(name, DataType::Int32, true),
        None => Field::new(name, DataType::Utf8, true),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[async_trait]
impl SchemaProvider for Information {
    fn table_names(&self) -> Vec<String> {
        VIEWS.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    fn table_exist(&self, name: &str) -> bool {
        VIEWS.iter().any(|(view, _)| *view == name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some((_, columns)) = VIEWS.iter().find(|(view, _)| *view == name) else { return Ok(None) };
        let rows = match name {
            "schemata" => NAMESPACES.iter().map(|namespace| schemata(namespace.name)).collect(),
            "tables" => self.tables.now().await?.iter().map(table).collect(),
            "columns" => self.tables.now().await?.iter().flat_map(columns_of).collect(),
            "character_sets" => vec![vec![("character_set_name", "UTF8".into()), ("form_of_use", "UTF8".into())]],
            _ => Vec::new(),
        };
        table_of(schema(columns), &rows).map(Some)
    }
}

fn schemata(name: &'static str) -> Row {
    vec![("catalog_name", CATALOG.into()), ("schema_name", name.into()), ("schema_owner", CATALOG.into())]
}

fn table(table: &Table) -> Row {
    vec![
        ("table_catalog", CATALOG.into()),
        ("table_schema", table.namespace.name.into()),
        ("table_name", table.name.as_str().into()),
        ("table_type", "BASE TABLE".into()),
        ("is_insertable_into", "NO".into()),
        ("is_typed", "NO".into()),
    ]
}

fn columns_of(table: &Table) -> impl Iterator<Item = Row> {
    (1_i32..).zip(&table.columns).map(|(number, column)| {
        let mut row: Row = vec![
            ("table_catalog", CATALOG.into()),
            ("table_schema", table.namespace.name.into()),
            ("table_name", table.name.as_str().into()),
            ("column_name", column.name.as_str().into()),
            ("ordinal_position", number.into()),
            ("is_nullable", if column.is_nullable { "YES" } else { "NO" }.into()),
            ("data_type", name(&column.ty.ty).into()),
            ("udt_catalog", CATALOG.into()),
            ("udt_schema", "pg_catalog".into()),
            ("udt_name", column.ty.ty.name().into()),
            ("is_identity", "NO".into()),
            ("is_generated", "NEVER".into()),
            ("is_updatable", "NO".into()),
        ];
        row.extend(digits(column));
        row
    })
}

/// What is said of numbers and times.
fn digits(column: &Column) -> Row {
    let number = |precision: i32, radix: i32, scale: Option<i32>| -> Row {
        vec![
            ("numeric_precision", precision.into()),
            ("numeric_precision_radix", radix.into()),
            ("numeric_scale", ScalarValue::Int32(scale)),
        ]
    };
    match column.ty.ty {
        Type::INT2 => number(16, 2, Some(0)),
        Type::INT4 => number(32, 2, Some(0)),
        Type::INT8 => number(64, 2, Some(0)),
        Type::FLOAT4 => number(24, 2, None),
        Type::FLOAT8 => number(53, 2, None),
        Type::NUMERIC if column.ty.modifier >= 4 => {
            let packed = column.ty.modifier - 4;
            number(packed >> 16, 10, Some(packed & 0x7ff))
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => vec![("datetime_precision", 6.into())],
        _ => Vec::new(),
    }
}

/// The name of a type in the standard.
fn name(ty: &Type) -> &str {
    match *ty {
        Type::BOOL => "boolean",
        Type::INT2 => "smallint",
        Type::INT4 => "integer",
        Type::INT8 => "bigint",
        Type::FLOAT4 => "real",
        Type::FLOAT8 => "double precision",
        Type::TIMESTAMP => "timestamp without time zone",
        Type::TIMESTAMPTZ => "timestamp with time zone",
        Type::TIME => "time without time zone",
        ref ty if ty.name().starts_with('_') => "ARRAY",
        ref ty => ty.name(),
    }
}
