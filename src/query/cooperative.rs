//! Lets a query be given up while it joins: an operator that takes all that a join gives, batch after batch, would never let
//! go of its thread, and a task ends only where it does.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// The operators that may give many batches for one that they take. (Scans let go by themselves.)
const MULTIPLIERS: [&str; 6] = [
    "CrossJoinExec",
    "NestedLoopJoinExec",
    "HashJoinExec",
    "SortMergeJoinExec",
    "PiecewiseMergeJoinExec",
    "UnnestExec",
];

/// The rule of the optimizer: what these give counts against the time that a task may take at once.
#[derive(Debug)]
pub(super) struct CooperativeJoins;

impl PhysicalOptimizerRule for CooperativeJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let wrap = |node: Arc<dyn ExecutionPlan>| match MULTIPLIERS.contains(&node.name()) {
            true => Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>)),
            false => Ok(Transformed::no(node)),
        };
        plan.transform_up(wrap).data()
    }

    fn name(&self) -> &'static str {
        "cooperative_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
