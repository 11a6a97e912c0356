//! `siltstone schema SOURCE --explain COLUMN`

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::compact::sample_kinds;
use crate::config::Config;
use crate::error::{Context as _, Error, Result};
use crate::json::DecodeOptions;
use crate::lake::{Explanation, Registry, explain};
use crate::raw::{Fetcher, list_objects};
use crate::schema::{Contract, Kind};
use crate::store::Location;

/// Samples are cut to so many characters.
const SAMPLE_CHARS: usize = 80;

/// Why a column has its type, and one value of each kind.
pub(super) struct Explained {
    explanation: Explanation,
    samples: BTreeMap<Kind, String>,
}

impl Explained {
    /// Looks a column up; with a raw root, one value of each kind is read from the first object that has it.
    pub(super) async fn look_up(
        registry: &Registry,
        column: &str,
        raw: Option<Location>,
        config: &Config,
        source: &str,
    ) -> Result<Self> {
        let explanation = explain(registry, column).map_err(|why| Error::usage(format!("{source}: {why}")))?;
        let samples = match raw {
            Some(raw) => samples(registry, &explanation, &raw.folder(source)?, config, source).await?,
            None => BTreeMap::new(),
        };
        Ok(Self { explanation, samples })
    }

    pub(super) fn document(&self) -> Result<Value> {
        let mut document =
            serde_json::to_value(&self.explanation).context(|| "cannot express the explanation".to_owned())?;
        document["samples"] = self.samples.iter().map(|(kind, text)| (kind.name().to_owned(), json!(text))).collect();
        Ok(document)
    }

    pub(super) fn text(&self) -> String {
        let Explanation { path, keys, sql_type, why, kinds, integers, first_object, last_object, changes, .. } =
            &self.explanation;
        let ty = sql_type.as_deref().unwrap_or("no column yet");
        let mut text = format!("{path}  {ty}\n  because {why}\n");
        if *keys != [path.clone()] {
            text.push_str(&format!("  keys: {}\n", keys.join(" | ")));
        }
        text.push_str("  seen:\n");
        for seen in kinds {
            let first = seen.first_object.as_deref().map_or_else(String::new, |key| format!(", first in {key}"));
            let sample = self.samples.get(&seen.kind).map_or_else(String::new, |text| format!(": {text}"));
            text.push_str(&format!("    {} {}{first}{sample}\n", seen.count, seen.kind.name()));
        }
        if let Some(range) = integers {
            text.push_str(&format!("  integers from {} to {}\n", range.min, range.max));
        }
        if let (Some(first), Some(last)) = (first_object, last_object) {
            text.push_str(&format!("  first raw object: {first}\n  last raw object: {last}\n"));
        }
        for dated in changes {
            let (version, table) = (dated.schema_version, dated.table_version);
            let (change, reason) = (&dated.change, &dated.change.reason);
            text.push_str(&format!("  version {version} (table version {table}, {}): {change}: {reason}\n", dated.at));
        }
        text
    }
}

async fn samples(
    registry: &Registry,
    explanation: &Explanation,
    raw: &Location,
    config: &Config,
    source: &str,
) -> Result<BTreeMap<Kind, String>> {
    let settings = config.settings(source)?;
    let mut wanted: BTreeMap<&str, Vec<Kind>> = BTreeMap::new();
    for seen in explanation.kinds.iter().filter(|seen| seen.kind != Kind::Null) {
        if let Some(key) = &seen.first_object {
            wanted.entry(key).or_default().push(seen.kind);
        }
    }
    let objects = list_objects(raw)?.find(|object| wanted.contains_key(object.key)).await?;
    let fetcher = Fetcher::new(raw, &Handle::current())?;
    let decode = DecodeOptions {
        max_depth: settings.max_depth,
        records_path: registry.records_path.clone(),
        envelope_fields: settings.envelope_fields.clone(),
        contract: Contract::Evolve,
        ..DecodeOptions::default()
    };
    Ok(tokio::task::block_in_place(|| {
        let mut samples = BTreeMap::new();
        for object in &objects {
            let (known, steps) = (&registry.observed, &explanation.steps);
            let kinds = &wanted[&*object.key];
            samples.extend(sample_kinds(&fetcher, object, (&decode, &settings.limits), known, steps, kinds));
        }
        samples.into_iter().map(|(kind, text)| (kind, cut(&text))).collect()
    }))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SAMPLE_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
