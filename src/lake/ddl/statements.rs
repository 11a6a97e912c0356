//! The script of each engine.

use super::{Script, projection};
use crate::partition::{NULL_PARTITION, PartitionKey};

/// What reading the files alone means, whichever engine does it.
const PARQUET_CAVEAT: &str = "\
-- It reads every Parquet file in the folders, also those that the Delta log no longer refers to (rewritten, not yet
-- vacuumed) or never did (left behind by a run that failed): rows may appear twice, and a file that holds a column
-- under an outdated type may fail a query.
";

/// What must be done when the columns have changed.
const COLUMNS_CAVEAT: &str = "-- The columns are those of today. Drop it and create it again when they have changed.\n";

/// The scheme of Hadoop's own client for S3; EMR has another one.
const S3A: &str = "-- On EMR, write s3:// for s3a://.\n";

const NO_COLUMNS: &str = "-- There is no column yet, and so no table of plain Parquet.\n";

impl Script<'_> {
    pub(super) fn athena(&self) -> String {
        let elsewhere = if self.is_s3() {
            ""
        } else {
            "-- Athena reads s3:// only, and this lake lies elsewhere: the locations are to be replaced.\n"
        };
        let parquet = self.quoted(&self.parquet_name());
        let mut text = format!(
            "{}{elsewhere}-- Athena takes one statement at a time.\n\
             \n\
             -- 1. The Delta table. Columns and files come from its log.\n\
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
                "-- Athena computes the partitions (partition projection). Create it again when older ones come. It reads\n{}\
                 -- To read all folders, leave TBLPROPERTIES out, and run now and after each compact:\n\
                 -- MSCK REPAIR TABLE {parquet}\n",
                projection::remarks(self.table),
            ));
            let lines = properties.iter().map(|(key, value)| format!("  '{key}' = {}", self.literal(value)));
            create.push_str(&format!("\nTBLPROPERTIES (\n{}\n)", lines.collect::<Vec<_>>().join(",\n")));
        }
        text + &create + ";\n"
    }

    pub(super) fn hive(&self) -> String {
        let heading = format!(
            "{}{}-- The files of the table as plain Parquet.\n{PARQUET_CAVEAT}{COLUMNS_CAVEAT}\
             -- Timestamps are 64-bit integers in the files, which Hive reads since 4.0.\n",
            self.renamed(),
            if self.is_s3() { S3A } else { "" },
        );
        let Some(create) = self.hive_table() else { return heading + NO_COLUMNS };
        heading + &create + ";\n" + &self.hive_partitions()
    }

    pub(super) fn spark(&self) -> String {
        let heading = format!(
            "{}{}-- The Delta table, for Spark with Delta Lake (delta-spark). Columns and files come from its log.\n\
             CREATE TABLE {} USING DELTA LOCATION {};\n\
             \n\
             -- Without Delta Lake, the same files as plain Parquet.\n{PARQUET_CAVEAT}{COLUMNS_CAVEAT}",
            self.renamed(),
            if self.is_s3() { S3A } else { "" },
            self.quoted(&self.name("")),
            self.literal(&self.location()),
        );
        if self.table.fields.is_empty() {
            return heading + NO_COLUMNS;
        }
        let columns: Vec<String> = self.columns().chain(self.partition_lines()).collect();
        let names: Vec<String> = self.table.partitioning.names().iter().map(|name| self.quoted(name)).collect();
        let partitions =
            if names.is_empty() { String::new() } else { format!("PARTITIONED BY ({})\n", names.join(", ")) };
        let create = format!(
            "CREATE TABLE {} (\n{}\n)\nUSING PARQUET\n{partitions}LOCATION {};\n{}",
            self.quoted(&self.parquet_name()),
            columns.join(",\n"),
            self.literal(&self.location()),
            self.spark_partitions(),
        );
        heading + &commented(&create)
    }

    pub(super) fn duckdb(&self) -> String {
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
        let secret =
            if self.is_s3() { "-- For credentials: CREATE SECRET (TYPE s3, PROVIDER credential_chain)\n" } else { "" };
        let parquet = format!(
            "CREATE OR REPLACE VIEW {} AS SELECT * FROM read_parquet(\n  {},\n  \
             union_by_name = true,\n  {partitions}\n);\n",
            self.quoted(&self.parquet_name()),
            self.literal(&files),
        );
        format!(
            "-- The Delta table. Columns and files come from its log, as of each query. The extension loads itself.\n\
             {secret}\
             CREATE OR REPLACE VIEW {} AS SELECT * FROM delta_scan({});\n\
             \n\
             -- Without that extension, the same files as plain Parquet.\n{PARQUET_CAVEAT}{}",
            self.quoted(&self.name("")),
            // A URL here, and not a path.
            self.literal(&self.table.url.as_str().replacen("s3a://", "s3://", 1)),
            commented(&parquet),
        )
    }

    pub(super) fn trino(&self) -> String {
        let (name, location) = (self.name(""), self.literal(&self.location()));
        let parquet = self.parquet_name();
        let heading = format!(
            "{}-- The Delta table. Columns and files come from its log. The catalog delta stands for yours of connector\n\
             -- delta_lake (with delta.register-table-procedure.enabled=true), and the schema default for yours.\n\
             CALL delta.system.register_table(\n  \
               schema_name => 'default',\n  table_name => {},\n  table_location => {location}\n\
             );\n\
             \n\
             -- Without it, the same files as plain Parquet. The catalog hive stands for yours of the connector hive.\n\
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
        let partitioned = if partitions.is_empty() {
            String::new()
        } else {
            format!("PARTITIONED BY (\n{}\n)\n", partitions.join(",\n"))
        };
        Some(format!(
            "CREATE EXTERNAL TABLE {} (\n{}\n)\n{partitioned}STORED AS PARQUET\nLOCATION {}",
            self.quoted(&self.parquet_name()),
            columns.join(",\n"),
            self.literal(&self.location()),
        ))
    }

    /// The statements that tell Hive which partitions there are.
    fn hive_partitions(&self) -> String {
        let by = self.table.partitioning;
        let encoded = self.table.partitions.iter().filter(|key| !self.is_plain(key));
        let (unnamed, named): (Vec<_>, Vec<_>) = encoded.partition(|key| key.contains(&None));
        let mut text = self.added_partitions(&named);
        if !unnamed.is_empty() {
            let folders: String = unnamed.into_iter().map(|key| format!("--   {}\n", by.hive_path(key))).collect();
            text.push_str(&format!(
                "-- Hive cannot name partitions with null beside such a value. The table lacks these:\n{folders}\
                 SET hive.msck.path.validation=skip;\n",
            ));
        }
        text + &self.repair()
    }

    /// The statement that tells Spark which partitions there are. Its `MSCK REPAIR` misreads folders that are
    /// percent-encoded, and would add them to those that are named.
    fn spark_partitions(&self) -> String {
        if self.table.partitions.iter().all(|key| self.is_plain(key)) {
            return self.repair();
        }
        self.added_partitions(&self.table.partitions.iter().collect::<Vec<_>>())
    }

    /// Whether the folders of a partition spell its values as they are. For others `MSCK REPAIR` is of no use: it refuses
    /// them, misreads them, or takes them for other folders, which are empty.
    fn is_plain(&self, key: &PartitionKey) -> bool {
        let by = self.table.partitioning;
        let folder = |(name, value): (&String, &Option<String>)| {
            format!("{name}={}", value.as_deref().unwrap_or(NULL_PARTITION))
        };
        by.hive_path(key) == by.names().iter().zip(key).map(folder).collect::<Vec<_>>().join("/")
    }

    fn added_partitions(&self, keys: &[&PartitionKey]) -> String {
        if keys.is_empty() {
            return String::new();
        }
        let by = self.table.partitioning;
        let names = by.names();
        let value = |(name, value): (&String, &Option<String>)| {
            let value = value.as_deref().map_or_else(|| "null".to_owned(), |value| self.literal(value));
            format!("{}={value}", self.quoted(name))
        };
        let partition = |key: &&PartitionKey| {
            let values: Vec<String> = names.iter().zip(*key).map(value).collect();
            let folder = self.literal(&format!("{}{}/", self.location(), by.hive_path(key)));
            format!("\n  PARTITION ({}) LOCATION {folder}", values.join(", "))
        };
        format!(
            "-- Partitions, as there are percent-encoded folders. Print them again after each compact.\n\
             ALTER TABLE {} ADD IF NOT EXISTS{};\n",
            self.quoted(&self.parquet_name()),
            keys.iter().map(partition).collect::<String>(),
        )
    }

    /// The statement that has a metastore look which partitions there are, when there can be any.
    fn repair(&self) -> String {
        if self.table.partitioning.0.is_empty() {
            return String::new();
        }
        format!("-- Now and after each compact:\nMSCK REPAIR TABLE {};\n", self.quoted(&self.parquet_name()))
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
