//! The session that pipelines are planned with.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::execution::SessionState;
use datafusion::prelude::SessionContext;

use super::model::Layer;
use crate::engine::{CATALOG, session_config};

/// The session that pipelines are planned with: configured as the one they run with, places kept in plans, and the empty
/// schemas `bronze`, `silver` and `gold`. It has no way to reach files.
pub fn planning_context() -> SessionContext {
    let mut config = session_config();
    config.options_mut().sql_parser.collect_spans = true;
    let context = SessionContext::new_with_config(config);
    let catalog = Arc::new(MemoryCatalogProvider::new());
    for layer in Layer::ALL {
        let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
        // A new catalog of this kind refuses no schema.
        let _ = catalog.register_schema(layer.as_str(), schema);
    }
    context.register_catalog(CATALOG, catalog);
    crate::functions::register(&context);
    context
}

/// The names of every function that a query may call.
pub(super) fn function_names(state: &SessionState) -> BTreeSet<String> {
    let scalar = state.scalar_functions().keys().chain(state.higher_order_functions().keys());
    let others = state.aggregate_functions().keys().chain(state.window_functions().keys());
    // The planner knows these without a registered function.
    scalar.chain(others).cloned().chain(["unnest".to_owned(), "grouping".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planning_session_has_the_layers_and_cannot_reach_files() {
        let context = planning_context();
        let catalog = context.catalog(CATALOG).unwrap();
        let mut schemas = catalog.schema_names();
        schemas.sort();
        assert_eq!(schemas, ["bronze", "gold", "graph", "silver", "vectors"]);
        let state = context.state();
        let mut functions: Vec<_> = state.table_functions().keys().collect();
        functions.sort();
        assert_eq!(functions, ["generate_series", "range"]);
    }
}
