//! From tasks to results that fit one set of columns: the slices, those that must be done again, and the files of earlier
//! runs that a promotion invalidates.

use super::begin::Setup;
use super::commit::Made;
use super::driver::{Driver, Plan};
use super::pool::run_all;
use super::rewrite::{Promotion, Rewritten};
use super::slice::{SliceContext, SliceResult, SliceTask, run_slice};
use crate::error::Result;
use crate::json::format_timestamp;
use crate::lake::{Registry, RunStamp};
use crate::raw::RawObject;
use crate::schema::Observation;
use crate::write::is_part_of;

/// A slice has about this many stored bytes at most.
const MAX_SLICE_BYTES: u64 = 512 << 20;

impl Driver<'_> {
    /// Runs the workers, then writes files of earlier runs again that lose rows or whose columns became wider. Blocks.
    pub(super) fn make(
        &self,
        plan: &Plan,
        context: &SliceContext,
        setup: &Setup,
        tasks: Vec<(SliceTask, SliceContext)>,
    ) -> Result<Made> {
        let mut made = self.make_slices(plan, setup, tasks)?;
        let files = self.take_out(plan, context, setup.workers, &mut made)?;
        if let (Some(promotion), Some(head)) = (self.promotion(plan, &made.registry, context, setup), &plan.head) {
            made.rewritten = promotion.run(&files, &head.segments, &made.taken_out)?;
            made.join_lessened();
        }
        Ok(made)
    }

    /// Runs the workers until their results fit one set of columns. Blocks.
    pub(super) fn make_slices(
        &self,
        plan: &Plan,
        setup: &Setup,
        tasks: Vec<(SliceTask, SliceContext)>,
    ) -> Result<Made> {
        let workers = setup.workers;
        let run = |task: &(SliceTask, SliceContext)| run_slice(&task.0, &task.1);
        let mut tasks = tasks;
        let mut results = run_all(tasks.iter().collect(), workers, run)?;
        let mut registry = self.advance(plan, setup, &results);
        let mut unreadable: Vec<(RawObject, String)> = Vec::new();
        let mut discarded = Vec::new();
        let fits =
            |result: &SliceResult, after: &Registry| result.files.iter().all(|f| is_part_of(&f.fields, &after.fields));
        let are_whole = results.iter().all(|result| result.unreadable.is_empty());
        if !are_whole && !results.iter().all(|result| fits(result, &registry)) {
            // The first look may have seen, in an object that cannot be read any more, what makes columns wider: JSON text
            // of an object tells nothing of its fields. What is left is decoded without it.
            for ((task, _), result) in tasks.iter_mut().zip(results) {
                discarded.extend(result.paths());
                task.leave_out(&result.unreadable);
                unreadable.extend(result.unreadable);
                task.known = setup.before.observed.clone();
            }
            results = run_all(tasks.iter().collect(), workers, run)?;
            registry = self.advance(plan, setup, &results);
        }
        // What was written under other columns than the table will have is done again, now that they are settled.
        let (mut done, mut again) = (Vec::new(), Vec::new());
        for ((mut task, context), mut result) in tasks.into_iter().zip(results) {
            if fits(&result, &registry) {
                unreadable.append(&mut result.unreadable);
                done.push(result);
                continue;
            }
            discarded.extend(result.paths());
            task.leave_out(&result.unreadable);
            unreadable.append(&mut result.unreadable);
            task.known = setup.before.known_again(&registry, setup.options.decode.contract);
            task.fields = Some(registry.fields.clone());
            again.push((task, context));
        }
        tracing::info!(slices = done.len() + again.len(), again = again.len(), "slices are done");
        let mut results = done;
        results.extend(run_all(again.iter().collect(), workers, run)?);
        unreadable.extend(results.iter_mut().flat_map(|result| std::mem::take(&mut result.unreadable)));
        let (rewritten, lessened, taken_out) = (Rewritten::default(), Vec::new(), Vec::new());
        Ok(Made { results, registry, rewritten, discarded, unreadable, lessened, taken_out })
    }

    /// The registry after what the slices saw.
    fn advance(&self, plan: &Plan, setup: &Setup, results: &[SliceResult]) -> Registry {
        let mut observed = Observation::default();
        results.iter().for_each(|result| observed.merge(&result.observed));
        let stamp = RunStamp {
            run_id: self.run_id.clone(),
            at: format_timestamp(setup.options.at_micros, false),
            table_version: plan.table.version().map_or(0, |version| version + 1),
        };
        setup.before.advance(&observed, &setup.options.decode, &stamp)
    }

    /// The change of the columns of a table that is there.
    pub(super) fn promotion<'p>(
        &'p self,
        plan: &'p Plan,
        after: &'p Registry,
        context: &'p SliceContext,
        setup: &'p Setup,
    ) -> Option<Promotion<'p>> {
        let (before, options, workers) = (plan.registry.as_ref()?, &setup.options, setup.workers);
        Some(Promotion { before, after, context, options, workers, clock: self.clock })
    }
}

/// Cuts objects, in the order of their keys, into slices of about equal stored bytes: as many as there are workers, or more
/// when they would be too large.
pub(super) fn cut(objects: Vec<RawObject>, workers: usize) -> Vec<Vec<RawObject>> {
    // An object costs about as much as a few kilobytes, whatever its size.
    let weight = |object: &RawObject| object.size_bytes + 4096;
    let total: u64 = objects.iter().map(weight).sum();
    let count = (workers as u64) * total.div_ceil(MAX_SLICE_BYTES * workers as u64).max(1);
    let share = total.div_ceil(count).max(1);
    let mut slices: Vec<Vec<RawObject>> = Vec::new();
    let mut before = 0;
    for object in objects {
        let slice = ((before + weight(&object) / 2) / share).min(count - 1) as usize;
        while slices.len() <= slice {
            slices.push(Vec::new());
        }
        before += weight(&object);
        slices[slice].push(object);
    }
    slices.retain(|slice| !slice.is_empty());
    slices
}
