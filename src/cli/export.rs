//! `siltstone export`

use std::io::{BufWriter, Write as _};
use std::process::ExitCode;

use super::{Roots, open_table};
use crate::config::Config;
use crate::error::{Context as _, Result};
use crate::json::{arrow_schema, reshape, write_record};
use crate::lake::{Hidden, StoredFile};
use crate::schema::{Field, Type};

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// The source.
    #[arg(value_name = "SOURCE")]
    source: String,
    #[command(flatten)]
    roots: Roots,
}

pub(super) async fn run(args: ExportArgs, config: Config) -> Result<ExitCode> {
    let lake = args.roots.need_lake(&config)?;
    let (table, _, registry) = open_table(&lake, &args.source).await?;
    let hidden = Hidden::new(table.location());
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout());
    let describe = || "cannot write records".to_owned();
    let mut line = Vec::new();
    for file in table.files()? {
        let mut stored = StoredFile::open(&hidden, &file.path, file.size_bytes, &registry.fields).await?;
        let fields = in_order_of(&registry.fields, &stored.fields);
        let schema = arrow_schema(&fields);
        while let Some(mut batch) = stored.next_batch().await? {
            if fields != stored.fields {
                batch = reshape(&batch, &stored.fields, &fields, &schema)
                    .context(|| format!("cannot read {}", file.path))?;
            }
            for row in 0..batch.num_rows() {
                line.clear();
                write_record(&batch, &fields, row, &mut line);
                line.push(b'\n');
                out.write_all(&line).context(describe)?;
            }
        }
    }
    out.flush().context(describe)?;
    Ok(ExitCode::SUCCESS)
}

/// The columns that a file holds in the order that the table has them in: the keys of all records stand in one order.
fn in_order_of(table: &[Field], held: &[Field]) -> Vec<Field> {
    let held_of = |field: &Field| held.iter().find(|held| held.name == field.name);
    let pairs = table.iter().filter_map(|field| held_of(field).map(|held| (field, held)));
    pairs.map(|(field, held)| Field { ty: type_in_order_of(&field.ty, &held.ty), ..held.clone() }).collect()
}

fn type_in_order_of(table: &Type, held: &Type) -> Type {
    match (table, held) {
        (Type::Struct(table), Type::Struct(held)) => Type::Struct(in_order_of(table, held)),
        (Type::List(table), Type::List(held)) => Type::List(Box::new(type_in_order_of(table, held))),
        (Type::Map(table), Type::Map(held)) => Type::Map(Box::new(type_in_order_of(table, held))),
        (_, held) => held.clone(),
    }
}
