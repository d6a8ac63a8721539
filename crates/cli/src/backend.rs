//! The only place that calls the job runner and the catalog.

use std::sync::Arc;

use lake::diagnostic::{Diagnostic, Source, Span};
use lake::report::RunReport;
use lake::{Error, ErrorKind, Lake};
use lake_catalog::{CatalogConfig, CatalogExt, CatalogKind, InvalidDefinitions, connect};
use lake_jobs::{PrepareError, PrepareRequest};

pub(crate) use lake_catalog::{
    Attribute, Catalog, Entity, IndirectKind, InputSpec, LineageItem, LineageLink, LineageTree, Method, Ontology, Relation,
    SourceKind,
};
pub(crate) use lake_jobs::{
    Action, CancellationToken, Observer, PlanReport, Project, Quantity, ReconcileReport, RunOptions, SinkDifferences, Sinks,
    TablePlan,
};

use crate::exit::Failure;
use crate::settings::Settings;

/// Which way lineage is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To what an item is made from.
    Upstream,
    /// To what is made from it.
    Downstream,
}

/// The catalog of these settings. Nothing is read yet.
///
/// # Errors
/// [`ErrorKind::Config`] when `DATA_CATALOG` names none.
pub(crate) fn catalog(settings: &Settings, lake: &Lake) -> Result<Arc<dyn Catalog>, Failure> {
    let kind = match settings.environment.setting("DATA_CATALOG") {
        Some(name) => name.parse::<CatalogKind>().map_err(catalog_failure)?,
        None => CatalogKind::default(),
    };
    let (records, prefix) = lake.bookkeeping()?;
    let definitions = settings.catalog.clone();
    connect(CatalogConfig { kind, definitions, records, prefix }).map_err(catalog_failure)
}

/// Reads and checks a pipeline. Nothing is written.
///
/// # Errors
/// All findings at once, or what stands in the way.
pub(crate) async fn prepare(settings: &Settings, lake: &Lake, path: &str) -> Result<Project, Failure> {
    let lookup = |name: &str| settings.environment.lookup(name);
    Project::prepare(request(settings, lake, path, &lookup)?).await.map_err(|error| match error {
        PrepareError::Findings(findings) => Failure::Findings(findings),
        PrepareError::Failed(error) => Failure::Error(error),
        PrepareError::Catalog(error) => catalog_failure(error),
    })
}

fn request<'a>(
    settings: &Settings,
    lake: &'a Lake,
    path: &'a str,
    lookup: &'a (dyn Fn(&str) -> Option<String> + Sync),
) -> Result<PrepareRequest<'a>, Failure> {
    Ok(PrepareRequest { lake, catalog: catalog(settings, lake)?, path, lookup, workspace: settings.workspace.clone() })
}

/// The report of a run that has nothing to do, when an earlier one tells so; `None` when the project has to be read.
///
/// # Errors
/// [`ErrorKind::Config`] when `DATA_CATALOG` names none.
pub(crate) async fn recall(
    settings: &Settings,
    lake: &Lake,
    path: &str,
    options: &RunOptions,
) -> Result<Option<RunReport>, Failure> {
    if options.full_refresh {
        return Ok(None);
    }
    let lookup = |name: &str| settings.environment.lookup(name);
    Ok(lake_jobs::recall(&request(settings, lake, path, &lookup)?, &options.select, options.observer.as_ref()).await)
}

/// Runs a project; tables that failed are in the report.
///
/// # Errors
/// A selection that names nothing; a report that cannot be kept.
pub(crate) async fn run(project: &Project, options: RunOptions) -> lake::Result<RunReport> {
    lake_jobs::run(project, options).await
}

/// The embedder and the stores of these settings. Nothing is asked of them yet.
///
/// # Errors
/// [`ErrorKind::Config`] for a setting that cannot be.
pub(crate) fn sinks(settings: &Settings) -> lake::Result<Sinks> {
    Sinks::connect(&|name: &str| settings.environment.setting(name).map(str::to_owned))
}

/// Compares tables with the stores that mirror them.
///
/// # Errors
/// Those of the stores and of storage.
pub(crate) async fn reconcile(project: &Project, repair: bool) -> lake::Result<ReconcileReport> {
    lake_jobs::reconcile(project, repair).await
}

/// Works out what a run would do.
///
/// # Errors
/// A selection that names nothing; those of storage.
pub(crate) async fn plan(project: &Project, select: &[String]) -> lake::Result<PlanReport> {
    lake_jobs::plan(project, select).await
}

/// Where the report of a run lies, below the root of the lake.
pub(crate) fn report_path(report: &RunReport) -> String {
    lake_jobs::report_path(&report.run_id)
}

/// The methods of the catalog, by id.
///
/// # Errors
/// Those of the catalog.
pub(crate) async fn methods(catalog: &dyn Catalog, entity_type: Option<&str>) -> Result<Vec<Method>, Failure> {
    catalog.list_methods(entity_type).await.map_err(catalog_failure)
}

/// One method.
///
/// # Errors
/// [`ErrorKind::NotFound`] with the nearest id.
pub(crate) async fn method(catalog: &dyn Catalog, id: &str) -> Result<Method, Failure> {
    catalog.method(id).await.map_err(catalog_failure)
}

/// An ontology, by default the newest.
///
/// # Errors
/// [`ErrorKind::NotFound`] when the catalog has none.
pub(crate) async fn ontology(catalog: &dyn Catalog, version: Option<&str>) -> Result<Ontology, Failure> {
    catalog.ontology(version).await.map_err(catalog_failure)
}

/// The lineage of a table or column, at most `depth` steps away.
///
/// # Errors
/// [`ErrorKind::NotFound`] when nothing is known of it.
pub(crate) async fn lineage(
    catalog: &dyn Catalog,
    item: LineageItem,
    direction: Direction,
    depth: usize,
) -> Result<LineageTree, Failure> {
    let tree = match direction {
        Direction::Upstream => catalog.upstream(item, depth).await,
        Direction::Downstream => catalog.downstream(item, depth).await,
    };
    tree.map_err(catalog_failure)
}

/// The JSON Schema of pipeline files.
pub(crate) fn pipeline_schema() -> serde_json::Value {
    lake::pipeline::json_schema()
}

/// A catalog's error as ours; mistakes in its file become findings with their place.
fn catalog_failure(error: lake_catalog::Error) -> Failure {
    if let Some(definitions) = error.definitions() {
        return Failure::Findings(definition_findings(definitions));
    }
    let kind = match error.kind() {
        lake_catalog::ErrorKind::NotFound => ErrorKind::NotFound,
        lake_catalog::ErrorKind::Invalid => ErrorKind::Config,
        _ => ErrorKind::Storage,
    };
    let ours = Error::new(kind, error.to_string());
    let ours = match error.hint() {
        Some(hint) => ours.with_hint(hint.to_owned()),
        None => ours,
    };
    Failure::Error(ours.with_source(error))
}

fn definition_findings(definitions: &InvalidDefinitions) -> Vec<Diagnostic> {
    let source = Arc::new(Source { path: definitions.path.clone(), text: definitions.text.clone() });
    let finding = |f: &lake_catalog::DefinitionFinding| {
        let span = Span::new(f.span.start, f.span.end);
        Diagnostic { help: f.help.clone(), ..Diagnostic::error("wrong-definition", &source, span, &f.message) }
    };
    definitions.findings.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use lake_catalog::DefinitionFinding;

    use super::*;

    #[test]
    fn mistakes_in_the_catalogs_file_are_findings_with_their_place() {
        let finding = DefinitionFinding {
            span: 4..9,
            message: "unknown key `methds`".into(),
            help: Some("did you mean `methods`?".into()),
        };
        let text = "{\n \"methds\": {} }".to_owned();
        let invalid = InvalidDefinitions { path: "catalog.json".into(), text, findings: vec![finding] };
        let Failure::Findings(findings) = catalog_failure(lake_catalog::Error::invalid_definitions(invalid)) else { panic!() };
        assert_eq!(findings[0].to_string(), "catalog.json:2:3: unknown key `methds`");
        assert_eq!(findings[0].help.as_deref(), Some("did you mean `methods`?"));
    }

    #[test]
    fn a_catalogs_error_keeps_its_kind_and_its_hint() {
        let error = lake_catalog::Error::new(lake_catalog::ErrorKind::NotFound, "no method `x`").with_hint("did you mean `y`?");
        let Failure::Error(error) = catalog_failure(error) else { panic!() };
        assert_eq!((error.kind(), error.hint()), (ErrorKind::NotFound, Some("did you mean `y`?")));
        let error = lake_catalog::Error::new(lake_catalog::ErrorKind::Unavailable, "no answer");
        let Failure::Error(error) = catalog_failure(error) else { panic!() };
        assert_eq!(error.kind(), ErrorKind::Storage);
    }
}
