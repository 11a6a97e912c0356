//! `siltstone schema`

mod explain;
mod history;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde_json::{Value, json};

use self::explain::Explained;
use self::history::{difference, difference_document, difference_text, history_document, history_text};
use super::{OutputFormat, Roots, open_table};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::error::{Context as _, Result};
use crate::lake::{Dialect, Registry, Table, TableDescription, ddl, sql_type};
use crate::partition::PartitionKey;
use crate::schema::{Field, Type};

#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {
    /// The source.
    #[arg(value_name = "SOURCE")]
    source: String,
    #[command(flatten)]
    roots: Roots,
    /// A tree for people, or JSON.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    /// The statements that make the table queryable in another engine.
    #[arg(long, value_enum, value_name = "ENGINE", conflicts_with = "format")]
    ddl: Option<Dialect>,
    /// All versions of the columns: what changed, when and why.
    #[arg(long, conflicts_with = "ddl")]
    history: bool,
    /// Why a column has its type: what was seen, in which raw objects first and last; with --raw also a value of each kind.
    /// The path is of column names or original keys, as payload.items[].price.
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["ddl", "history"])]
    explain: Option<String>,
    /// What changed between two versions of the columns (0: none yet).
    #[arg(long, value_names = ["V1", "V2"], num_args = 2, conflicts_with_all = ["ddl", "history", "explain"])]
    diff: Option<Vec<u64>>,
}

impl ValueEnum for Dialect {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Athena, Self::Hive, Self::Spark, Self::DuckDb, Self::Trino]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Athena => "athena",
            Self::Hive => "hive",
            Self::Spark => "spark",
            Self::DuckDb => "duckdb",
            Self::Trino => "trino",
        }))
    }
}

pub(super) async fn run(args: SchemaArgs, config: Config) -> Result<ExitCode> {
    let lake = args.roots.need_lake(&config)?;
    let (table, _, registry) = open_table(&lake, &args.source).await?;
    let (source, json) = (&args.source, args.format == OutputFormat::Json);
    let text = if let Some(dialect) = args.ddl {
        statements(source, &table, &registry, dialect)?
    } else if let Some(column) = &args.explain {
        let raw = args.roots.raw(&config)?;
        let explained = Explained::look_up(&registry, column, raw, &config, source).await?;
        if json { line(&explained.document()?) } else { explained.text() }
    } else if let Some([from, to]) = args.diff.as_deref() {
        let changes = difference(source, &registry, *from, *to)?;
        if json { line(&difference_document(*from, *to, &changes)) } else { difference_text(&changes) }
    } else if args.history {
        if json { line(&history_document(&registry)?) } else { history_text(source, &registry) }
    } else if json {
        line(&document(source, table.version(), &registry))
    } else {
        tree(source, &registry)
    };
    std::io::stdout().lock().write_all(text.as_bytes()).context(|| "cannot write the schema".to_owned())?;
    Ok(ExitCode::SUCCESS)
}

fn line(document: &Value) -> String {
    format!("{document}\n")
}

fn statements(source: &str, table: &Table, registry: &Registry, dialect: Dialect) -> Result<String> {
    let partitions: BTreeSet<PartitionKey> = table.files()?.into_iter().map(|file| file.partition).collect();
    let description = TableDescription {
        source_id: source,
        url: table.location().url(),
        fields: &registry.fields,
        partitioning: &registry.partitioning,
        partitions: &partitions.into_iter().collect::<Vec<_>>(),
        today: SystemClock.now_micros().div_euclid(86_400_000_000) as i32,
    };
    Ok(ddl(&description, dialect))
}

fn tree(source: &str, registry: &Registry) -> String {
    let mut text = format!("{source}, partitioned by {}\n", registry.partitioning);
    if !registry.records_path.is_empty() {
        text.push_str(&format!("records at {}\n", registry.records_path.join(".")));
    }
    let mut rows = Vec::new();
    rows_of(&registry.fields, 0, &mut rows);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    for [path, column, ty] in &rows {
        text.push_str(&format!("  {path:first$}  {column:second$}  {ty}\n"));
    }
    text
}

/// One row for each column and nested field: original key (indented by depth), column name, type.
fn rows_of(fields: &[Field], depth: usize, rows: &mut Vec<[String; 3]>) {
    for field in fields {
        let keys = format!("{}{}", "  ".repeat(depth), field.keys.join(" | "));
        rows.push([keys, field.name.clone(), short_type(&field.ty)]);
        let mut ty = &field.ty;
        while let Type::List(inner) | Type::Map(inner) = ty {
            ty = inner;
        }
        if let Type::Struct(below) = ty {
            rows_of(below, depth + 1, rows);
        }
    }
}

/// The type, with the fields of structs left to the rows below.
fn short_type(ty: &Type) -> String {
    match ty {
        Type::Struct(_) => "struct".to_owned(),
        Type::List(element) => format!("array<{}>", short_type(element)),
        Type::Map(value) => format!("map<string,{}>", short_type(value)),
        other => sql_type(other),
    }
}

fn document(source: &str, version: Option<u64>, registry: &Registry) -> Value {
    json!({
        "source_id": source,
        "version": version,
        "schema_version": registry.schema_version(),
        "partition_by": registry.partitioning.to_string(),
        "records": registry.records_path.join("."),
        "columns": registry.fields.iter().map(|field| column(field, "")).collect::<Vec<_>>(),
    })
}

/// A key of the column; its name, when it holds all keys that have no column.
fn first_key(field: &Field) -> &String {
    field.keys.first().unwrap_or(&field.name)
}

fn column(field: &Field, parent: &str) -> Value {
    let path = match parent {
        "" => first_key(field).clone(),
        parent => format!("{parent}.{}", first_key(field)),
    };
    let mut ty = &field.ty;
    let mut below = path.clone();
    while let Type::List(inner) | Type::Map(inner) = ty {
        below.push_str(if matches!(ty, Type::List(_)) { "[]" } else { "{}" });
        ty = inner;
    }
    let mut document = json!({
        "path": path, "keys": field.keys, "column": field.name, "type": sql_type(&field.ty)
    });
    if let Type::Struct(fields) = ty {
        document["fields"] = fields.iter().map(|field| column(field, &below)).collect();
    }
    document
}
