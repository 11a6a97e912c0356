//! The DDL that makes a table queryable in another engine: the Delta table where the engine reads Delta, and its Parquet
//! files as a plain partitioned table, with all columns.
//!
//! Every identifier is quoted, also in struct types: all five engines accept that everywhere, while their lists of reserved
//! words differ, also by version. Comments stand before statements and never within: not every engine takes them there.

mod projection;

#[cfg(test)]
mod tests;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::partition::{NULL_PARTITION, PartitionKey, Partitioning, ValueType};
use crate::schema::{Field, Type, fold};

/// An engine, and the SQL it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Amazon Athena, engine 3.
    Athena,
    /// Apache Hive.
    Hive,
    /// Apache Spark SQL.
    Spark,
    /// DuckDB.
    DuckDb,
    /// Trino.
    Trino,
}

/// A table as its DDL needs it.
#[derive(Debug, Clone, Copy)]
pub struct TableDescription<'a> {
    /// The source.
    pub source_id: &'a str,
    /// The table's folder; ends with a slash.
    pub url: &'a Url,
    /// The columns.
    pub fields: &'a [Field],
    /// The partition columns.
    pub partitioning: &'a Partitioning,
    /// The partitions that there are.
    pub partitions: &'a [PartitionKey],
    /// The day, in days since 1970-01-01.
    pub today: i32,
}

/// The DDL of a table: a script of statements and comments for people, which ends with a newline.
pub fn ddl(table: &TableDescription<'_>, dialect: Dialect) -> String {
    let script = Script { table, dialect };
    match dialect {
        Dialect::Athena => script.athena(),
        Dialect::Hive => script.hive(),
        Dialect::Spark => script.spark(),
        Dialect::DuckDb => script.duckdb(),
        Dialect::Trino => script.trino(),
    }
}

/// What reading the files alone means, whichever engine does it.
const PARQUET_CAVEAT: &str = "\
-- It reads every Parquet file in the folders, also those that the Delta log no longer refers to (rewritten and not yet
-- vacuumed) or never did (left behind by a run that failed): rows may appear twice, and a file that holds a column under
-- an outdated type may fail a query.
";

/// What must be done when the columns have changed.
const COLUMNS_CAVEAT: &str = "-- The columns are those of today. Drop it and create it again when they have changed.\n";

const NO_COLUMNS: &str = "-- There is no column yet, and so no table of plain Parquet.\n";

struct Script<'a> {
    table: &'a TableDescription<'a>,
    dialect: Dialect,
}

impl Script<'_> {
    fn athena(&self) -> String {
        let elsewhere = match self.table.url.scheme() {
            "s3" | "s3a" => "",
            _ => "-- Athena reads s3:// only, and this lake lies elsewhere: the locations are to be replaced.\n",
        };
        let parquet = self.quoted(&self.parquet_name());
        let mut text = format!(
            "{}{elsewhere}-- Athena takes one statement at a time.\n\
             \n\
             -- 1. The Delta table, which is all that a query needs: columns and files come from the Delta log.\n\
             CREATE EXTERNAL TABLE {}\nLOCATION {}\nTBLPROPERTIES ('table_type' = 'DELTA');\n\
             \n\
             -- 2. The same files as plain Parquet.\n{PARQUET_CAVEAT}{COLUMNS_CAVEAT}",
            self.renamed(),
            self.quoted(&self.name("")),
            self.literal(&self.location()),
        );
        let Some(mut create) = self.hive_table() else { return text + NO_COLUMNS };
        let properties = projection::properties(self.table, &self.location());
        if !properties.is_empty() {
            text.push_str(&format!(
                "-- Athena computes the partitions (partition projection) and reads these folders:\n{}\
                 -- To read all folders: leave the projection and storage properties out, and run now and after each compact:\n\
                 -- MSCK REPAIR TABLE {parquet}\n",
                projection::remarks(self.table),
            ));
            let lines = properties.iter().map(|(key, value)| format!("  '{key}' = {}", self.literal(value)));
            create.push_str(&format!("\nTBLPROPERTIES (\n{}\n)", lines.collect::<Vec<_>>().join(",\n")));
        }
        text + &create + ";\n"
    }

    fn hive(&self) -> String {
        let heading = format!(
            "{}{}-- The files of the table as plain Parquet.\n{PARQUET_CAVEAT}{COLUMNS_CAVEAT}\
             -- Timestamps are 64-bit integers in the files, which Hive reads since 4.0.\n",
            self.renamed(),
            self.s3a(),
        );
        let Some(create) = self.hive_table() else { return heading + NO_COLUMNS };
        heading + &create + ";\n" + &self.added_partitions() + &self.repair()
    }

    fn spark(&self) -> String {
        let heading = format!(
            "{}{}-- The Delta table: columns and files come from the Delta log. Spark needs Delta Lake (delta-spark) for it.\n\
             CREATE TABLE {} USING DELTA LOCATION {};\n\
             \n\
             -- Without Delta Lake, the same files as plain Parquet.\n{PARQUET_CAVEAT}{COLUMNS_CAVEAT}",
            self.renamed(),
            self.s3a(),
            self.quoted(&self.name("")),
            self.literal(&self.location()),
        );
        if self.table.fields.is_empty() {
            return heading + NO_COLUMNS;
        }
        let columns: Vec<String> = self.columns().chain(self.partition_lines()).collect();
        let names: Vec<String> = self.table.partitioning.names().iter().map(|name| self.quoted(name)).collect();
        let partitions = match names.is_empty() {
            true => String::new(),
            false => format!("PARTITIONED BY ({})\n", names.join(", ")),
        };
        let create = format!(
            "CREATE TABLE {} (\n{}\n)\nUSING PARQUET\n{partitions}LOCATION {};\n{}",
            self.quoted(&self.parquet_name()),
            columns.join(",\n"),
            self.literal(&self.location()),
            self.repair(),
        );
        heading + &commented(&create)
    }

    fn duckdb(&self) -> String {
        let names = self.table.partitioning.names();
        let folders: String = names.iter().map(|name| format!("{name}=*/")).collect();
        let files = format!("{}{folders}*.parquet", escaped_glob(&self.location()));
        let partitions = if names.is_empty() {
            // The path of the lake itself may look like partitions.
            "hive_partitioning = false".to_owned()
        } else {
            let types = self.partition_columns().map(|(name, ty)| format!("{}: {ty}", self.literal(&name)));
            format!("hive_partitioning = true, hive_types = {{{}}}", types.collect::<Vec<_>>().join(", "))
        };
        let parquet = format!(
            "CREATE OR REPLACE VIEW {} AS SELECT * FROM read_parquet(\n  {},\n  union_by_name = true, {partitions}\n);\n",
            self.quoted(&self.parquet_name()),
            self.literal(&files),
        );
        format!(
            "-- The Delta table: columns and files come from the Delta log, as of each query. The extensions that this needs\n\
             -- (delta, and httpfs for s3://) load themselves. Credentials: CREATE SECRET (TYPE s3, PROVIDER credential_chain)\n\
             CREATE OR REPLACE VIEW {} AS SELECT * FROM delta_scan({});\n\
             \n\
             -- Without the delta extension, the same files as plain Parquet:\n{PARQUET_CAVEAT}{}",
            self.quoted(&self.name("")),
            // A URL here, and not a path.
            self.literal(self.table.url.as_str()),
            commented(&parquet),
        )
    }

    fn trino(&self) -> String {
        let (name, location) = (self.name(""), self.literal(&self.location()));
        let parquet = self.parquet_name();
        let heading = format!(
            "{}-- The Delta table, in a catalog \"delta\" of the connector delta_lake with delta.register-table-procedure.enabled=true:\n\
             -- columns and files come from the Delta log. Catalogs and schema are to be replaced by yours.\n\
             CALL delta.system.register_table(\n  schema_name => 'default',\n  table_name => {},\n  table_location => {location}\n);\n\
             \n\
             -- Without that connector, in a catalog \"hive\" of the connector hive, the same files as plain Parquet:\n\
             {PARQUET_CAVEAT}{COLUMNS_CAVEAT}\
             -- The files hold microseconds. Where hive.timestamp-precision is MICROSECONDS, write timestamp(6).\n",
            self.renamed(),
            self.literal(&name),
        );
        if self.table.fields.is_empty() {
            return heading + NO_COLUMNS;
        }
        let names: Vec<String> = self.table.partitioning.names().iter().map(|name| self.literal(name)).collect();
        let mut properties = vec!["format = 'PARQUET'".to_owned(), format!("external_location = {location}")];
        let mut sync = String::new();
        if !names.is_empty() {
            properties.push(format!("partitioned_by = ARRAY[{}]", names.join(", ")));
            sync = format!(
                "-- Now and after each compact:\nCALL hive.system.sync_partition_metadata(schema_name => 'default', \
                 table_name => {}, mode => 'FULL');\n",
                self.literal(&parquet),
            );
        }
        // Trino wants the partition columns among the others, at the end.
        let columns: Vec<String> = self.columns().chain(self.partition_lines()).collect();
        let create = format!(
            "CREATE TABLE hive.\"default\".{} (\n{}\n)\nWITH (\n  {}\n);\n{sync}",
            self.quoted(&parquet),
            columns.join(",\n"),
            properties.join(",\n  "),
        );
        heading + &commented(&create)
    }

    /// `CREATE EXTERNAL TABLE` as Hive and Athena write it, up to the location; none without columns.
    fn hive_table(&self) -> Option<String> {
        if self.table.fields.is_empty() {
            return None;
        }
        let columns: Vec<String> = self.columns().collect();
        let partitions: Vec<String> = self.partition_lines().collect();
        let partitioned = match partitions.is_empty() {
            true => String::new(),
            false => format!("PARTITIONED BY (\n{}\n)\n", partitions.join(",\n")),
        };
        Some(format!(
            "CREATE EXTERNAL TABLE {} (\n{}\n)\n{partitioned}STORED AS PARQUET\nLOCATION {}",
            self.quoted(&self.parquet_name()),
            columns.join(",\n"),
            self.literal(&self.location()),
        ))
    }

    /// The statement that tells Hive of the partitions that `MSCK REPAIR` is not for: those whose folders do not spell
    /// their values as they are. It refuses them, or takes them for other folders, which are empty.
    fn added_partitions(&self) -> String {
        let by = self.table.partitioning;
        let names = by.names();
        let is_plain = |key: &PartitionKey| {
            let spelled = |(name, value): (&String, &Option<String>)| {
                format!("{name}={}", value.as_deref().unwrap_or(NULL_PARTITION))
            };
            by.hive_path(key) == names.iter().zip(key).map(spelled).collect::<Vec<_>>().join("/")
        };
        let (unnamed, named): (Vec<_>, Vec<_>) =
            self.table.partitions.iter().filter(|key| !is_plain(key)).partition(|key| key.contains(&None));
        let mut text = String::new();
        if !named.is_empty() {
            let partition = |key: &PartitionKey| {
                let value = |(name, value): (&String, &Option<String>)| {
                    format!("{}={}", self.quoted(name), self.literal(value.as_deref().unwrap_or_default()))
                };
                let values: Vec<String> = names.iter().zip(key).map(value).collect();
                let folder = self.literal(&format!("{}{}/", self.location(), by.hive_path(key)));
                format!("\n  PARTITION ({}) LOCATION {folder}", values.join(", "))
            };
            text.push_str(&format!(
                "-- Partitions whose folders are percent-encoded. Print them again after each compact.\n\
                 ALTER TABLE {} ADD IF NOT EXISTS{};\n",
                self.quoted(&self.parquet_name()),
                named.into_iter().map(partition).collect::<String>(),
            ));
        }
        if !unnamed.is_empty() {
            let folder = |key: &PartitionKey| format!("--   {}\n", by.hive_path(key));
            text.push_str(&format!(
                "-- Hive cannot name partitions with null beside such a value. The table lacks these:\n{}\
                 SET hive.msck.path.validation=skip;\n",
                unnamed.into_iter().map(folder).collect::<String>(),
            ));
        }
        text
    }

    /// The statement that tells a metastore which partitions there are, when there can be any.
    fn repair(&self) -> String {
        match self.table.partitioning.0.is_empty() {
            true => String::new(),
            false => {
                format!("-- Now and after each compact:\nMSCK REPAIR TABLE {};\n", self.quoted(&self.parquet_name()))
            }
        }
    }

    /// The lines that define the columns, without separators.
    fn columns(&self) -> impl Iterator<Item = String> {
        self.table.fields.iter().map(|field| {
            let remark = if field.ty == Type::Json { " COMMENT 'JSON text'" } else { "" };
            format!("  {} {}{remark}", self.quoted(&field.name), self.type_name(&field.ty))
        })
    }

    /// The lines that define the partition columns, without separators.
    fn partition_lines(&self) -> impl Iterator<Item = String> {
        self.partition_columns().map(|(name, ty)| format!("  {} {ty}", self.quoted(&name)))
    }

    /// Names and types of the partition columns.
    fn partition_columns(&self) -> impl Iterator<Item = (String, &'static str)> {
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
    fn type_name(&self, ty: &Type) -> String {
        let trino = self.dialect == Dialect::Trino;
        match ty {
            Type::Bool => "boolean".to_owned(),
            Type::Int64 => "bigint".to_owned(),
            Type::Decimal => "decimal(38,0)".to_owned(),
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
    fn name(&self, suffix: &str) -> String {
        let name = format!("{}{suffix}", self.table.source_id);
        if self.dialect == Dialect::DuckDb { name } else { fold(&name) }
    }

    /// The name of the table of plain Parquet, which stands beside the Delta table where the engine has both.
    fn parquet_name(&self) -> String {
        self.name(if self.dialect == Dialect::Hive { "" } else { "_parquet" })
    }

    /// Says so when the table cannot have the name of the source.
    fn renamed(&self) -> String {
        let (name, source) = (self.name(""), self.table.source_id);
        if name == source {
            return String::new();
        }
        format!("-- The source {source} is named {name} here: names of tables are lower-case letters, digits and _.\n")
    }

    /// Says what `s3a://` is to be replaced by.
    fn s3a(&self) -> &'static str {
        match self.table.url.scheme() {
            "s3" | "s3a" => "-- On EMR, write s3:// for s3a://.\n",
            _ => "",
        }
    }

    /// The folder as the engine names it, with a slash at the end. Engines take a location as it stands there, and decode
    /// nothing.
    fn location(&self) -> String {
        let url = self.table.url;
        let path = percent_decode_str(url.path()).decode_utf8_lossy();
        let scheme = match (url.scheme(), self.dialect) {
            ("s3" | "s3a", Dialect::Hive | Dialect::Spark) => "s3a",
            ("s3" | "s3a", _) => "s3",
            ("file", Dialect::DuckDb) => return path.into_owned(),
            (scheme, _) => scheme,
        };
        let authority = &url[url::Position::BeforeUsername..url::Position::AfterPort];
        format!("{scheme}://{authority}{path}")
    }

    fn quoted(&self, name: &str) -> String {
        let mark = if matches!(self.dialect, Dialect::DuckDb | Dialect::Trino) { '"' } else { '`' };
        // Neither mark is in a name: columns are [a-z0-9_], source ids [A-Za-z0-9._-].
        format!("{mark}{name}{mark}")
    }

    fn literal(&self, text: &str) -> String {
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

/// Statements as comments.
fn commented(statements: &str) -> String {
    statements.lines().map(|line| format!("-- {line}\n")).collect()
}

/// A path in which DuckDB finds no wildcards.
fn escaped_glob(path: &str) -> String {
    path.chars().map(|c| if matches!(c, '*' | '?' | '[') { format!("[{c}]") } else { c.to_string() }).collect()
}
