//! How each engine writes names, types, locations and text.

use percent_encoding::percent_decode_str;
use url::Position;

use super::{Dialect, Script};
use crate::partition::ValueType;
use crate::schema::{Field, Type, fold};

impl Script<'_> {
    /// The lines that define the columns, without separators.
    pub(super) fn columns(&self) -> impl Iterator<Item = String> {
        self.table.fields.iter().map(|field| {
            let remark = if field.ty == Type::Json { " COMMENT 'JSON text'" } else { "" };
            format!("  {} {}{remark}", self.quoted(&field.name), self.type_name(&field.ty))
        })
    }

    /// The lines that define the partition columns, without separators.
    pub(super) fn partition_lines(&self) -> impl Iterator<Item = String> {
        self.partition_columns().map(|(name, ty)| format!("  {} {ty}", self.quoted(&name)))
    }

    /// Names and types of the partition columns.
    pub(super) fn partition_columns(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.table.partitioning.0.iter().map(|expr| {
            let ty = match (expr.transform.value_type(), self.dialect) {
                (ValueType::Integer, Dialect::DuckDb | Dialect::Trino) => "integer",
                (ValueType::Integer, _) => "int",
                (ValueType::Date, _) => "date",
                (ValueType::String, Dialect::DuckDb | Dialect::Trino) => "varchar",
                (ValueType::String, _) => "string",
            };
            (expr.name(), ty)
        })
    }

    /// The type of a column in a dialect that has a table of plain Parquet with columns: Trino's, or Hive's.
    pub(super) fn type_name(&self, ty: &Type) -> String {
        let trino = self.dialect == Dialect::Trino;
        match ty {
            Type::Bool => "boolean".to_owned(),
            Type::Int64 => "bigint".to_owned(),
            Type::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            Type::Double => "double".to_owned(),
            // A table must have the precision that its catalog is set to: milliseconds, unless set otherwise.
            Type::Timestamp { .. } if trino => "timestamp(3)".to_owned(),
            Type::Timestamp { .. } => "timestamp".to_owned(),
            Type::Date => "date".to_owned(),
            Type::Text | Type::Json if trino => "varchar".to_owned(),
            Type::Text | Type::Json => "string".to_owned(),
            Type::Struct(fields) => {
                let (open, between, close) = if trino { ("row(", " ", ")") } else { ("struct<", ":", ">") };
                let field =
                    |field: &Field| format!("{}{between}{}", self.quoted(&field.name), self.type_name(&field.ty));
                format!("{open}{}{close}", fields.iter().map(field).collect::<Vec<_>>().join(","))
            }
            Type::List(element) if trino => format!("array({})", self.type_name(element)),
            Type::List(element) => format!("array<{}>", self.type_name(element)),
            Type::Map(value) if trino => format!("map(varchar,{})", self.type_name(value)),
            Type::Map(value) => format!("map<string,{}>", self.type_name(value)),
        }
    }

    /// The name of the table or view. The metastores of all engines but DuckDB take lower-case letters, digits and `_`
    /// only, whether a name is quoted or not.
    pub(super) fn name(&self, suffix: &str) -> String {
        let name = format!("{}{suffix}", self.table.source_id);
        if self.dialect == Dialect::DuckDb { name } else { fold(&name) }
    }

    /// The name of the table of plain Parquet, which stands beside the Delta table where the engine has both.
    pub(super) fn parquet_name(&self) -> String {
        self.name(if self.dialect == Dialect::Hive { "" } else { "_parquet" })
    }

    /// Says so when the table cannot have the name of the source.
    pub(super) fn renamed(&self) -> String {
        let (name, source) = (self.name(""), self.table.source_id);
        if name == source {
            return String::new();
        }
        format!("-- The source {source} is named {name} here: names of tables are lower-case letters, digits and _.\n")
    }

    pub(super) fn is_s3(&self) -> bool {
        matches!(self.table.url.scheme(), "s3" | "s3a")
    }

    /// The folder as the engine names it, with a slash at the end. Engines take it as it stands and decode nothing.
    pub(super) fn location(&self) -> String {
        let url = self.table.url;
        let path = percent_decode_str(url.path()).decode_utf8_lossy();
        let scheme = match self.dialect {
            Dialect::DuckDb if url.scheme() == "file" => return path.into_owned(),
            Dialect::Hive | Dialect::Spark if self.is_s3() => "s3a",
            _ if self.is_s3() => "s3",
            _ => url.scheme(),
        };
        let authority = &url[Position::BeforeUsername..Position::AfterPort];
        format!("{scheme}://{authority}{path}")
    }

    pub(super) fn quoted(&self, name: &str) -> String {
        let mark = if matches!(self.dialect, Dialect::DuckDb | Dialect::Trino) { '"' } else { '`' };
        // Neither mark is in a name: columns are [a-z0-9_], source ids [A-Za-z0-9._-].
        format!("{mark}{name}{mark}")
    }

    pub(super) fn literal(&self, text: &str) -> String {
        let escaped: String = match self.dialect {
            Dialect::DuckDb | Dialect::Trino => text.replace('\'', "''"),
            Dialect::Athena => text.replace('\\', r"\\").replace('\'', r"\'"),
            // Their shells split at `;` and lines, and replace `${name}`, within literals too.
            Dialect::Hive | Dialect::Spark => text
                .chars()
                .map(|c| match c {
                    '\\' | '\'' => format!("\\{c}"),
                    ';' | '$' => format!("\\u{:04x}", u32::from(c)),
                    c if c.is_ascii_control() => format!("\\u{:04x}", u32::from(c)),
                    c => c.to_string(),
                })
                .collect(),
        };
        format!("'{escaped}'")
    }
}
