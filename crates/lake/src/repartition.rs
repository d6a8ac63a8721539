//! Queries under a budget: one input for each repartition.
//!
//! A repartition that finds no memory spills. When two of its inputs do at once it can wait for itself for ever
//! (<https://github.com/apache/datafusion/issues/24883>); with one input it cannot.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// Gathers the partitions of a plan before they are parted anew.
#[derive(Debug)]
pub(crate) struct OneInput;

impl PhysicalOptimizerRule for OneInput {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(repartition) = node.downcast_ref::<RepartitionExec>() else { return Ok(Transformed::no(node)) };
            let input = repartition.input();
            // One that keeps an order has a channel, and a file, for each of its inputs.
            if repartition.preserve_order() || input.output_partitioning().partition_count() < 2 {
                return Ok(Transformed::no(node));
            }
            let gathered: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(input.clone()));
            let parted = RepartitionExec::try_new(gathered, repartition.partitioning().clone())?;
            Ok(Transformed::yes(Arc::new(parted)))
        })
        .data()
    }

    fn name(&self) -> &str {
        "one_input"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::displayable;

    use crate::engine::{Engine, EngineOptions};

    async fn plan(memory: Option<u64>) -> String {
        let engine = Engine::new(EngineOptions { memory, threads: Some(2), ..Default::default() }).unwrap();
        let rows = "SELECT * FROM (SELECT 1 AS a UNION ALL SELECT 2) GROUP BY a";
        let frame = engine.session().sql(rows).await.unwrap();
        displayable(frame.create_physical_plan().await.unwrap().as_ref()).indent(false).to_string()
    }

    #[tokio::test]
    async fn under_a_budget_a_repartition_has_one_input() {
        let free = plan(None).await;
        assert!(free.contains("input_partitions=2"), "{free}");
        let held = plan(Some(1 << 30)).await;
        assert!(held.contains("RepartitionExec") && !held.contains("input_partitions=2"), "{held}");
        assert!(held.contains("CoalescePartitionsExec"), "{held}");
    }
}
