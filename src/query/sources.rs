//! What is known of the raw objects of each source: which there are, which are new, and what their records look like.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::lake::Ledger;
use super::raw::{RawScan, RawTable};
use crate::clock::{Clock as _, SystemClock};
use crate::compact::{find_records_path, observe_known};
use crate::config::{Config, OnOverwrite, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::json::DecodeOptions;
use crate::lake::{Diff, Found, Registry, RunStamp};
use crate::partition::Partitioning;
use crate::raw::{Fetcher, RawObject, list_objects};
use crate::schema::{Contract, Field, Observation, Rule, resolve_ruled};
use crate::store::Location;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The raw sources below a root.
#[derive(Debug)]
pub(super) struct RawSources {
    root: Location,
    config: Config,
    threads: usize,
    /// What was seen last of the records of new objects, by source and whether its columns may evolve.
    seen: Mutex<HashMap<(String, bool), Arc<Seen>>>,
}

/// What the records of some objects looked like.
#[derive(Debug)]
struct Seen {
    /// The objects, sorted.
    objects: Vec<RawObject>,
    /// What they were decoded with, and the ledger's head that a contract follows from.
    decode: DecodeOptions,
    head: Option<i64>,
    observed: Observation,
}

/// The new raw objects of a source as a table, with the columns that the lake table would get from them.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) raw: RawTable,
    /// The columns of both.
    pub(super) fields: Vec<Field>,
}

impl RawSources {
    pub(super) fn new(root: Location, config: Config, threads: usize) -> Self {
        Self { root, config, threads, seen: Mutex::default() }
    }

    /// All raw objects of a source. The columns are those the registry knows, and those of objects that it has not seen.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub(super) async fn all(&self, source: &str, ledger: Option<&Ledger>) -> Result<RawTable> {
        let settings = self.config.settings(source)?;
        let location = self.root.folder(source)?;
        let (mut objects, mut unseen) = (Vec::new(), Vec::new());
        let mut diff = open_diff(ledger).await?;
        let mut listing = list_objects(&location)?;
        while let Some(batch) = listing.next().await? {
            for object in batch.iter() {
                if look_up(&mut diff, object).await? != Found::Consumed {
                    unseen.push(RawObject::from(object));
                }
                objects.push(RawObject::from(object));
            }
        }
        let fetcher = Fetcher::new(&location, &Handle::current())?;
        let registry = ledger.map(|ledger| &*ledger.registry);
        let rule = rule(&settings, registry);
        let seen = self.look(source, &fetcher, &settings, ledger, Contract::Evolve, unseen, &objects)?;
        let mut observed = registry.map_or_else(Observation::default, |registry| registry.observed.clone());
        observed.merge(&seen.observed);
        let fields = resolve_ruled(&observed, &[], &rule);
        Ok(RawTable::new(
            RawScan {
                base: location.url().as_str().into(),
                fetcher,
                decode: seen.decode.clone(),
                limits: settings.limits,
                observed,
                fields,
                partitioning: Partitioning::default(),
                ingested_day: 0,
            },
            objects,
        ))
    }

    /// The objects that a ledger does not have, in the order of the listing; `None` when the source has no raw objects.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub(super) async fn new_objects(&self, source: &str, ledger: Option<&Ledger>) -> Result<Option<Vec<RawObject>>> {
        let takes = takes(&self.config.settings(source)?);
        let mut diff = open_diff(ledger).await?;
        let mut listing = list_objects(&self.root.folder(source)?)?;
        let mut new = Vec::new();
        loop {
            let batch = match listing.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(Some(new)),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            for object in batch.iter() {
                if takes(look_up(&mut diff, object).await?) {
                    new.push(RawObject::from(object));
                }
            }
        }
    }

    /// Those of `objects` that a ledger does not have.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(super) async fn still_new(
        &self,
        source: &str,
        ledger: Option<&Ledger>,
        objects: Vec<RawObject>,
    ) -> Result<Vec<RawObject>> {
        let takes = takes(&self.config.settings(source)?);
        let mut diff = open_diff(ledger).await?;
        let mut new = Vec::new();
        for object in objects {
            if takes(look_up(&mut diff, object.by_ref()).await?) {
                new.push(object);
            }
        }
        Ok(new)
    }

    /// New objects, as a run of compaction would take them into the table that `ledger` belongs to.
    ///
    /// # Errors
    /// When an object cannot be read, or the table cannot follow the configuration.
    pub(super) fn fresh(&self, source: &str, ledger: Option<&Ledger>, objects: Vec<RawObject>) -> Result<Fresh> {
        let settings = self.config.settings(source)?;
        let location = self.root.folder(source)?;
        let fetcher = Fetcher::new(&location, &Handle::current())?;
        let registry = ledger.map_or_else(empty_registry, |ledger| Registry::clone(&ledger.registry));
        registry
            .check_rule(&rule(&settings, Some(&registry)))
            .map_err(|why| Error::usage(format!("{source}: {why}")))?;
        // A table without columns has nothing to keep yet.
        let contract = if !registry.has_columns() { Contract::Evolve } else { settings.contract };
        let seen = self.look(source, &fetcher, &settings, ledger, contract, objects, &[])?;
        let next = registry.advance(&seen.observed, &seen.decode, &RunStamp::default());
        let today = SystemClock.now_micros().div_euclid(MICROS_PER_DAY);
        let scan = RawScan {
            base: location.url().as_str().into(),
            fetcher,
            decode: seen.decode.clone(),
            limits: settings.limits,
            observed: registry.known_again(&next, contract),
            fields: next.fields.clone(),
            partitioning: registry.partitioning,
            ingested_day: i32::try_from(today).unwrap_or_default(),
        };
        Ok(Fresh { raw: RawTable::new(scan, seen.objects.clone()), fields: next.fields })
    }

    /// The columns of those raw objects of a source that a statement has looked at.
    pub(super) fn seen_fields(&self, source: &str) -> Option<Vec<Field>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = [true, false].into_iter().find_map(|evolves| seen.get(&(source.to_owned(), evolves)))?;
        Some(resolve_ruled(&seen.observed, &[], &seen.decode.rule))
    }

    /// Goes through the records of `objects`, those that it has not seen in this session. Blocks. What their envelope is may
    /// have to be found in `others`.
    #[expect(clippy::too_many_arguments, reason = "all of them vary")]
    fn look(
        &self,
        source: &str,
        fetcher: &Fetcher,
        settings: &Settings,
        ledger: Option<&Ledger>,
        contract: Contract,
        mut objects: Vec<RawObject>,
        others: &[RawObject],
    ) -> Result<Arc<Seen>> {
        objects.sort_unstable();
        let registry = ledger.map(|ledger| &*ledger.registry);
        let head = ledger.map(|ledger| ledger.head.id).filter(|_| contract != Contract::Evolve);
        let place = (source.to_owned(), contract == Contract::Evolve);
        let last = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned();
        let last = last.filter(|last| last.head == head && is_subset(&last.objects, &objects));
        let seen = tokio::task::block_in_place(|| {
            let wanted = settings.records_path.clone();
            let pinned = registry.and_then(Registry::pinned_records_path).map(<[String]>::to_vec);
            let records_path = match wanted.or(pinned) {
                Some(path) => path,
                None => match &last {
                    Some(last) if !last.objects.is_empty() => last.decode.records_path.clone(),
                    _ => {
                        let sample = if others.is_empty() { &objects } else { others };
                        find_records_path(fetcher, sample, &settings.limits)?
                    }
                },
            };
            let decode = DecodeOptions {
                max_depth: settings.max_depth,
                records_path,
                rule: rule(settings, registry),
                envelope_fields: settings.envelope_fields.clone(),
                max_columns: settings.max_columns,
                contract,
                ..DecodeOptions::default()
            };
            let last = last.filter(|last| last.decode == decode);
            if let Some(last) = last.as_ref().filter(|last| last.objects.len() == objects.len()) {
                return Ok(Arc::clone(last));
            }
            let unseen: Vec<RawObject> = match &last {
                Some(last) => {
                    objects.iter().filter(|object| last.objects.binary_search(object).is_err()).cloned().collect()
                }
                None => objects.clone(),
            };
            let known = match registry {
                Some(registry) if contract != Contract::Evolve => registry.observed.clone(),
                _ => Observation::default(),
            };
            let mut observed = observe_known(fetcher, &unseen, &known, &decode, &settings.limits, self.threads)?;
            if let Some(last) = &last {
                observed.merge(&last.observed);
            }
            Ok::<_, Error>(Arc::new(Seen { objects, decode, head, observed }))
        })?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(place, Arc::clone(&seen));
        Ok(seen)
    }
}

/// Whether all of `some` are in `all`; both are sorted.
fn is_subset(some: &[RawObject], all: &[RawObject]) -> bool {
    let mut all = all.iter();
    some.len() <= all.len() && some.iter().all(|object| all.any(|other| other == object))
}

/// What is said of the columns, by the configuration and by the table.
fn rule(settings: &Settings, registry: Option<&Registry>) -> Rule {
    let mut rule = settings.rule.clone();
    if let Some(registry) = registry {
        rule.inherit_types(&registry.rule);
    }
    rule
}

/// Whether the fresh view has an object of which the ledger says this. What takes the place of old rows does so in a run.
fn takes(settings: &Settings) -> impl Fn(Found) -> bool + use<> {
    let again = settings.on_overwrite == OnOverwrite::Append;
    move |found| matches!(found, Found::New | Found::Filled) || found == Found::Overwritten && again
}

async fn open_diff(ledger: Option<&Ledger>) -> Result<Option<Diff<'_>>> {
    match ledger {
        Some(ledger) => Diff::open(&ledger.hidden, Some(&ledger.head)).await.map(Some),
        None => Ok(None),
    }
}

async fn look_up(diff: &mut Option<Diff<'_>>, object: crate::raw::ObjectRef<'_>) -> Result<Found> {
    match diff {
        Some(diff) => diff.look_up(object).await,
        None => Ok(Found::New),
    }
}

/// What a source without a table builds on.
fn empty_registry() -> Registry {
    Registry {
        history: Vec::new(),
        partitioning: Partitioning::default(),
        partitioning_reason: String::new(),
        provenance: None,
        records_path: Vec::new(),
        rule: Rule::default(),
        observed: Observation::default(),
        fields: Vec::new(),
    }
}
