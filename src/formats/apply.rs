//! Advice as a block of the configuration, and put into a configuration that is there.

use std::fmt::Write as _;

use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};

use super::advice::{Advice, ColumnSetting};
use super::choice::word;
use crate::error::{Error, Result};

/// The block `[sources.NAME]`, each line with its reason.
pub fn block(source_id: &str, advice: &Advice, measured: &str) -> String {
    let mut text = format!("# siltstone bench, aim {}: {}\n# {measured}\n", advice.aim, advice.id);
    let changes = advice.changes.iter().map(|change| format!("{} {:+.1} %", change.figure, change.percent));
    let changes: Vec<String> = changes.collect();
    if !changes.is_empty() {
        let _ = writeln!(text, "# against the defaults: {}", changes.join(", "));
    }
    if advice.settings.is_empty() && advice.columns.is_empty() {
        let _ = writeln!(text, "# The defaults are best: no setting gains 2 % or more.");
        return text;
    }
    let source = quoted(source_id);
    if !advice.settings.is_empty() {
        let _ = writeln!(text, "[sources.{source}]");
        for setting in &advice.settings {
            let _ = writeln!(text, "{} = {} # {}", setting.key, setting.value, setting.reason);
        }
    }
    if !advice.columns.is_empty() {
        let _ = writeln!(text, "\n[sources.{source}.columns]");
        for column in &advice.columns {
            let value = Value::from(merged(InlineTable::new(), column));
            let _ = writeln!(text, "{:?} = {} # {}", column.path, value.to_string().trim(), column.reason);
        }
    }
    text
}

/// A key of TOML.
fn quoted(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_bare { name.to_owned() } else { format!("{name:?}") }
}

/// Puts the advice for a source into the text of a configuration. All else in it, comments too, stays as it is.
///
/// # Errors
/// `Usage`: the text is no TOML, or something else stands where a table must.
pub fn apply(text: &str, source_id: &str, advice: &Advice) -> Result<String> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| Error::usage(format!("the configuration is wrong: {error}")))?;
    if advice.settings.is_empty() && advice.columns.is_empty() {
        return Ok(text.to_owned());
    }
    let sources = table(document.as_table_mut(), "sources")?;
    if sources.is_empty() {
        sources.set_implicit(true);
    }
    let source = table(sources, source_id)?;
    for setting in &advice.settings {
        let mut value: Value =
            setting.value.parse().map_err(|error| Error::usage(format!("{}: {error}", setting.key)))?;
        // A comment behind the old value stays; a new one gives the reason.
        match source.get(setting.key).and_then(Item::as_value) {
            Some(old) => value.decor_mut().clone_from(old.decor()),
            None => value.decor_mut().set_suffix(format!(" # {}", setting.reason)),
        }
        source.insert(setting.key, Item::Value(value));
    }
    // `codec` says the level, too.
    if advice.settings.iter().any(|setting| setting.key == "codec") {
        source.remove("zstd_level");
    }
    if !advice.columns.is_empty() {
        let columns = table(source, "columns")?;
        for column in &advice.columns {
            let old = columns.get(&column.path).and_then(Item::as_value);
            let decor = old.map(|old| old.decor().clone());
            let before = old.and_then(Value::as_inline_table).cloned().unwrap_or_default();
            let mut value = Value::from(merged(before, column));
            match decor {
                Some(decor) => *value.decor_mut() = decor,
                None => value.decor_mut().set_suffix(format!(" # {}", column.reason)),
            }
            columns.insert(&column.path, Item::Value(value));
        }
    }
    Ok(document.to_string())
}

/// The table of a name, which is added when there is none.
fn table<'a>(parent: &'a mut Table, name: &str) -> Result<&'a mut Table> {
    let item = parent.entry(name).or_insert_with(|| Item::Table(Table::new()));
    if let Item::Value(Value::InlineTable(inline)) = item {
        *item = Item::Table(std::mem::take(inline).into_table());
    }
    item.as_table_mut().ok_or_else(|| Error::usage(format!("{name} is no table in the configuration")))
}

/// What is said of a column, with what is advised.
fn merged(mut said: InlineTable, column: &ColumnSetting) -> InlineTable {
    if let Some(dictionary) = column.options.dictionary {
        said.insert("dictionary", dictionary.into());
    }
    if let Some(encoding) = column.options.encoding {
        said.insert("encoding", word(encoding).into());
    }
    if column.options.bloom {
        said.insert("bloom", true.into());
    }
    said.fmt();
    said
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use super::*;
    use crate::config::{Codec, ColumnEncoding, ColumnOptions, Config};
    use crate::formats::{Aim, Setting};

    fn advice() -> Advice {
        let setting =
            |key, value: &str| Setting { key, value: value.to_owned(), reason: "alone: size -9 %".to_owned() };
        let options = ColumnOptions { encoding: Some(ColumnEncoding::Plain), bloom: true, dictionary: None };
        Advice {
            aim: Aim::Smallest,
            id: "zstd-9".to_owned(),
            settings: vec![setting("codec", "\"zstd 9\""), setting("sort_by", "[\"country\"]")],
            columns: vec![ColumnSetting { path: "lines[].sku".to_owned(), options, reason: "smaller".to_owned() }],
            changes: Vec::new(),
        }
    }

    #[test]
    fn all_else_in_a_configuration_stays_as_it_is() {
        let before = "# ours\nlake = \"l\" # here\n\n[sources.orders] # the shop\nzstd_level = 5\ncontract = \"freeze\" # keep\n\n\
                      [sources.orders.columns]\n\"lines[].sku\" = { type = \"string\" } # sure\n\n# the end\n[sources.other]\nzstd_level = 1\n";
        let after = apply(before, "orders", &advice()).unwrap();
        for kept in
            ["# ours\nlake = \"l\" # here\n", "# the shop", "contract = \"freeze\" # keep", "# sure", "# the end"]
        {
            assert!(after.contains(kept), "{kept} is missing in\n{after}");
        }
        let config: Config = toml::from_str(&after).unwrap();
        let orders = config.settings("orders").unwrap();
        assert_eq!(orders.files.codec, Codec::Zstd(9));
        assert_eq!(orders.sort_by, ["country"]);
        assert!(orders.files.columns["lines[].sku"].bloom);
        assert_eq!(config.settings("other").unwrap().files.codec, Codec::Zstd(1));
        assert_eq!(apply(&after, "orders", &advice()).unwrap(), after, "once more changes nothing");
    }

    #[test]
    fn a_block_is_a_configuration() {
        for text in [block("api.v2", &advice(), "of 1 record"), apply("", "api.v2", &advice()).unwrap()] {
            let config: Config = toml::from_str(&text).unwrap();
            assert_eq!(config.settings("api.v2").unwrap().files.codec, Codec::Zstd(9), "{text}");
        }
    }
}
