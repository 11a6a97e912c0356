//! What a run builds on: the registry, the settings of its slices, and a first look at the raw objects.

use super::driver::{Driver, Plan};
use super::make::cut;
use super::observe::observe;
use super::probe::{Probed, probe};
use super::report::SourceReport;
use super::slice::{SliceContext, SliceOptions, SliceTask};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::json::DecodeOptions;
use crate::lake::{Registry, check_agreement};
use crate::raw::RawObject;
use crate::schema::{Contract, MEMBER_PREFIX, Observation, Rule, resolve_ruled};
use crate::write::worker_bytes;

/// With less memory than this for each, there are fewer workers.
const MIN_WORKER_BYTES: usize = 48 << 20;
/// What is known before the first slice.
struct Begun {
    /// The registry that it builds on.
    registry: Registry,
    /// What a first look at the new objects gave.
    observed: Observation,
    decode: DecodeOptions,
}

/// What the slices of a run begin with.
pub(super) struct Setup {
    /// The registry that the run builds on.
    pub before: Registry,
    /// What is known of the records.
    pub known: Observation,
    /// How slices are done.
    pub options: SliceOptions,
    /// How many at once.
    pub workers: usize,
    /// What each of them has.
    worker_bytes: usize,
    /// The run.
    run_id: String,
}

impl Setup {
    /// The slices of `objects`, whose columns follow from what is known and seen.
    pub(super) fn tasks(&self, objects: Vec<RawObject>, context: &SliceContext) -> Vec<(SliceTask, SliceContext)> {
        let slices = cut(objects, self.workers);
        let mut context = context.clone();
        if slices.len() < self.workers {
            context.fetcher = context.fetcher.inflating_ahead();
        }
        context.fetcher = context.fetcher.inflating_whole(self.worker_bytes);
        slices.into_iter().map(|objects| (self.task(objects), context.clone())).collect()
    }

    /// A slice whose columns follow from what is known and seen.
    pub(super) fn task(&self, objects: Vec<RawObject>) -> SliceTask {
        SliceTask {
            run_id: self.run_id.clone(),
            objects,
            portions: Vec::new(),
            known: self.known.clone(),
            fields: None,
            options: self.options.clone(),
        }
    }
}

impl Driver<'_> {
    /// Settles what slices begin with. Blocks.
    pub(super) fn set_up(
        &self,
        plan: &Plan,
        context: &SliceContext,
        settings: &Settings,
        report: &mut SourceReport,
    ) -> Result<Setup> {
        let Begun { registry: before, observed: probed, decode } =
            self.begin_registry(plan, context, settings, report)?;
        let workers = self.request.threads.min(settings.memory_bytes / 2 / MIN_WORKER_BYTES).max(1);
        let mut known = before.observed.clone();
        if decode.contract == Contract::Evolve {
            known.merge(&probed);
        }
        let options = SliceOptions {
            decode,
            limits: settings.limits.clone(),
            partitioning: before.partitioning.clone(),
            provenance: before.provenance.clone(),
            target_file_bytes: settings.target_file_bytes,
            memory_bytes: (settings.memory_bytes / 2 / workers).min(worker_bytes(&settings.files)),
            at_micros: self.clock.now_micros(),
        };
        let worker_bytes = settings.memory_bytes / workers;
        Ok(Setup { before, known, options, workers, worker_bytes, run_id: self.run_id.clone() })
    }

    /// The registry that this run builds on, and what a first look at the new objects gave.
    fn begin_registry(
        &self,
        plan: &Plan,
        context: &SliceContext,
        settings: &Settings,
        report: &mut SourceReport,
    ) -> Result<Begun> {
        let pinned = plan.registry.as_ref().and_then(Registry::pinned_records_path);
        let wanted_path = settings.records_path.as_deref().or(pinned);
        let mut decode = DecodeOptions {
            max_depth: settings.max_depth,
            records_path: Vec::new(),
            rule: settings.rule.clone(),
            envelope_fields: settings.envelope_fields.clone(),
            max_columns: settings.max_columns,
            max_cells: DecodeOptions::default().max_cells,
            // A table without columns has nothing to keep yet.
            contract: if plan.registry.as_ref().is_some_and(Registry::has_columns) {
                settings.contract
            } else {
                Contract::Evolve
            },
        };
        plan.table.check_writable(false)?;
        if let Some(registry) = &plan.registry {
            check_agreement(&plan.table, registry)?;
            decode.rule.inherit_types(&registry.rule);
            registry.check_rule(&decode.rule).map_err(|why| Error::usage(format!("{}: {why}", report.source_id)))?;
        }
        let probed = probe(&context.fetcher, &plan.new, wanted_path, &decode, &settings.limits)?;
        decode.records_path.clone_from(&probed.records_path);
        let wanted = self.request.partition_by.as_ref().or(settings.partition_by.as_ref());
        if let Some(registry) = &plan.registry {
            if let Some(wanted) = wanted.filter(|wanted| **wanted != registry.partitioning) {
                return Err(Error::usage(format!(
                    "the table of {} is partitioned by {} and cannot be partitioned by {wanted}",
                    report.source_id, registry.partitioning
                )));
            }
            let mut registry = registry.clone();
            registry.records_path = probed.records_path;
            add_provenance(&mut registry, settings)
                .map_err(|why| Error::usage(format!("provenance of source {}: {why}", report.source_id)))?;
            let mut observed = probed.observed;
            if registry.observed.overflow {
                // What a table has no column for stays without one, though there may be room again.
                let is_member = |key: &String| key.starts_with(MEMBER_PREFIX);
                observed.fields.retain(|key, _| registry.observed.fields.contains_key(key) || is_member(key));
            }
            return Ok(Begun { registry, observed, decode });
        }
        let Probed { records_path, observed, partitioning: chosen } = probed;
        let (partitioning, reason) = match wanted {
            Some(wanted) => {
                let check = |observed: &Observation| {
                    let fields = resolve_ruled(observed, &[], &decode.rule);
                    let mut exprs = if fields.is_empty() { [].iter() } else { wanted.0.iter() };
                    exprs.try_for_each(|expr| expr.check(&fields)).map_err(Error::usage)
                };
                if check(&observed).is_err() {
                    // The first look may have missed the column.
                    let threads = self.request.threads;
                    check(&observe(&context.fetcher, &plan.new, &decode, &settings.limits, threads)?)?;
                }
                (wanted.clone(), "asked for".to_owned())
            }
            None => {
                report.notes.push(format!("partitioned by {}: {}", chosen.0, chosen.1));
                chosen
            }
        };
        if !records_path.is_empty() && settings.records_path.is_none() {
            report.notes.push(format!("the records lie at {}", records_path.join(".")));
        }
        let mut registry = Registry {
            history: Vec::new(),
            provenance: None,
            partitioning,
            partitioning_reason: reason,
            records_path,
            rule: Rule::default(),
            observed: Observation::default(),
            fields: Vec::new(),
        };
        add_provenance(&mut registry, settings)
            .map_err(|why| Error::usage(format!("provenance of source {}: {why}", report.source_id)))?;
        Ok(Begun { registry, observed, decode })
    }
}

/// Has a table name the raw object of each row from now on, when it is to; once it does, it goes on so.
fn add_provenance(registry: &mut Registry, settings: &Settings) -> Result<(), String> {
    let Some(wanted) = &settings.provenance else { return Ok(()) };
    match &registry.provenance {
        Some(name) if name == wanted => Ok(()),
        Some(name) => Err(format!("the table has the column {name} for it, which cannot become {wanted}")),
        None if registry.fields.iter().any(|field| field.name == *wanted)
            || registry.partitioning.names().contains(wanted) =>
        {
            Err(format!("the table has another column {wanted} already; choose another name"))
        }
        None => {
            registry.provenance = Some(wanted.clone());
            Ok(())
        }
    }
}
