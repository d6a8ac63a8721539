//! From a file to a project that can run: the pipeline is read, checked against the catalog and the data, and planned. Nothing is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use lake::diagnostic::{Diagnostic, Source, Span};
use lake::pipeline::{
    BronzeSchema, BronzeTable, CompileInput, CompiledPipeline, EntityType, Pipeline, TableName, WorkspaceSpec, compile,
};
use lake::table::{At, Scope};
use lake::verdict::RowRules;
use lake::{Error, ErrorKind, Lake, Result, WORKSPACE_COLUMN, WorkspaceId};
use lake_catalog::{AttributeType, Catalog, Method, Ontology};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::ingest::format::{Compression, Format, ReadOptions, merge_schemas, peek, settle};
use crate::ingest::job::{Intake, bronze_schema, raw_columns};
use crate::ingest::source::{self, SourceFile, SourceStore};
use crate::ingest::{ProgramIntake, WorkspaceFrom};
use crate::sinks::Sinks;

/// The workspace of a run when nothing names one.
const DEFAULT_WORKSPACE: &str = "default";

/// The most files whose columns are looked at before a run.
const FILES_TO_PEEK: usize = 64;

/// What a project is made from.
pub struct PrepareRequest<'a> {
    /// The tables.
    pub lake: &'a Lake,
    /// Methods and ontology.
    pub catalog: Arc<dyn Catalog>,
    /// The pipeline file.
    pub path: &'a str,
    /// Values of `${VAR}`.
    pub lookup: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The workspace by flag or environment, which goes before the file's.
    pub workspace: Option<WorkspaceId>,
}

impl std::fmt::Debug for PrepareRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrepareRequest").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why a project cannot be made.
#[derive(Debug)]
pub enum PrepareError {
    /// The pipeline is wrong; all that was found.
    Findings(Vec<Diagnostic>),
    /// Something else stands in the way.
    Failed(Error),
    /// The catalog cannot be used.
    Catalog(lake_catalog::Error),
}

impl From<Error> for PrepareError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<lake_catalog::Error> for PrepareError {
    fn from(error: lake_catalog::Error) -> Self {
        Self::Catalog(error)
    }
}

/// How a Bronze table gets its rows.
#[derive(Debug, Clone)]
pub enum BronzeSource {
    /// From files.
    Files(Intake),
    /// From what a program writes.
    Program(ProgramIntake),
}

/// A pipeline that was checked and can run.
#[derive(Debug, Clone)]
pub struct Project {
    pub(crate) lake: Lake,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) compiled: CompiledPipeline,
    pub(crate) bronze: BTreeMap<TableName, BronzeSource>,
    pub(crate) bronze_columns: BTreeMap<TableName, SchemaRef>,
    pub(crate) scope: Scope,
    pub(crate) warnings: Vec<Diagnostic>,
    /// The workspace by flag or environment.
    pub(crate) named_workspace: Option<WorkspaceId>,
    /// The embedder and the stores; `None` for a pipeline without vectors and graph.
    pub(crate) sinks: Option<Sinks>,
}

impl Project {
    /// Reads and checks a pipeline. All findings come at once.
    ///
    /// # Errors
    /// See [`PrepareError`].
    pub async fn prepare(request: PrepareRequest<'_>) -> Result<Project, PrepareError> {
        let text = std::fs::read_to_string(request.path).map_err(|e| unreadable_pipeline(request.path, &e))?;
        let pipeline = Pipeline::parse(request.path, text, request.lookup).map_err(PrepareError::Findings)?;
        Preparation { request: &request, pipeline: &pipeline, findings: vec![] }.run().await
    }

    /// The pipeline as it was read.
    pub fn pipeline(&self) -> &Pipeline {
        &self.compiled.pipeline
    }

    /// The pipeline as it will run.
    pub fn compiled(&self) -> &CompiledPipeline {
        &self.compiled
    }

    /// Findings that do not keep it from running.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// What a run may touch.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

struct Preparation<'a> {
    request: &'a PrepareRequest<'a>,
    pipeline: &'a Pipeline,
    findings: Vec<Diagnostic>,
}

impl Preparation<'_> {
    async fn run(mut self) -> Result<Project, PrepareError> {
        let (scope, from) = self.workspace()?;
        let ontology = self.ontology().await?;
        let entities = ontology.as_ref().map(entity_types).unwrap_or_default();
        let methods = self.request.catalog.list_methods(None).await?;
        let mut bronze = BTreeMap::new();
        let mut schemas = BTreeMap::new();
        for table in &self.pipeline.bronze {
            let Some(source) = self.bronze(table, &methods, &from).await? else { continue };
            if let Some(schema) = self.bronze_schema(table, &source).await? {
                schemas.insert(table.name.value.clone(), schema);
            }
            bronze.insert(table.name.value.clone(), source);
        }
        // Columns of a table whose source is unknown are unknown too; the compiler leaves out what depends on them.
        let existing = self.existing().await?;
        let input = CompileInput { pipeline: self.pipeline, entities: &entities, bronze: &schemas, existing: &existing };
        match compile(&input) {
            Ok(compiled)
                if self.all_compute(&compiled)
                    && self.findings.iter().all(|f| f.severity != lake::diagnostic::Severity::Error) =>
            {
                let mut warnings = self.findings;
                warnings.extend(compiled.warnings.iter().cloned());
                let (lake, catalog) = (self.request.lake.clone(), self.request.catalog.clone());
                let bronze_columns = schemas.into_iter().map(|(n, s)| (n, s.schema)).collect();
                let named_workspace = self.request.workspace.clone();
                let sinks = Sinks::of(self.pipeline, self.request.lookup)?;
                Ok(Project { lake, catalog, compiled, bronze, bronze_columns, scope, warnings, named_workspace, sinks })
            }
            Ok(_) => Err(PrepareError::Findings(self.findings)),
            Err(more) => {
                // A source that cannot be used was reported where it stands; that its columns are unknown follows.
                let reported = |code: &str| self.findings.iter().any(|f| f.code == code);
                let any = self.findings.iter().any(|f| f.severity == lake::diagnostic::Severity::Error);
                let ontology = reported("unknown-ontology");
                let follows = |f: &Diagnostic| (any && f.code == "no-schema") || (ontology && f.code == "unknown-entity");
                self.findings.extend(more.into_iter().filter(|f| !follows(f)));
                self.findings.sort_by_key(|f| f.span.start);
                Err(PrepareError::Findings(self.findings))
            }
        }
    }

    /// The flag or the environment goes before the file. With a feed, it narrows the run to the rows of that workspace.
    fn workspace(&self) -> Result<(Scope, WorkspaceFrom)> {
        let named = |id: &WorkspaceId| (Scope::Workspace(id.clone()), WorkspaceFrom::Run(id.clone()));
        Ok(match (&self.request.workspace, &self.pipeline.workspace) {
            (None, WorkspaceSpec::Column(column)) => (Scope::Feed, WorkspaceFrom::Column(column.value.clone())),
            (Some(id), WorkspaceSpec::Column(column)) => {
                (Scope::Workspace(id.clone()), WorkspaceFrom::Column(column.value.clone()))
            }
            (Some(id), _) => named(id),
            (None, WorkspaceSpec::Fixed(id)) => named(&id.value),
            (None, WorkspaceSpec::Inherit) => named(&WorkspaceId::new(DEFAULT_WORKSPACE)?),
        })
    }

    async fn ontology(&mut self) -> Result<Option<Ontology>, PrepareError> {
        let version = self.pipeline.ontology.as_ref();
        let found = self.request.catalog.get_ontology(version.map(|v| v.value.as_str())).await?;
        if let (Some(version), None) = (version, &found) {
            let message = format!("the catalog has no ontology `{}`", version.value);
            let latest = self.request.catalog.get_ontology(None).await?;
            let help = latest.map_or_else(
                || "it has none at all: add one to its `ontologies`, or give another file with `--catalog`".to_string(),
                |o| format!("the catalog has `{}`", o.version),
            );
            self.error("unknown-ontology", version.span, message, Some(help));
        }
        Ok(found)
    }

    async fn bronze(&mut self, table: &BronzeTable, methods: &[Method], from: &WorkspaceFrom) -> Result<Option<BronzeSource>> {
        let Some(method) = methods.iter().find(|m| m.method_id == table.method.value) else {
            let known = methods.iter().map(|m| m.method_id.as_str());
            let help = lake::diagnostic::nearest(&table.method.value, known).map(|n| format!("did you mean `{n}`?"));
            let help = help.or_else(|| Some("`lake methods` lists the methods of the catalog".to_string()));
            self.error("unknown-method", table.method.span, format!("the catalog has no method `{}`", table.method.value), help);
            return Ok(None);
        };
        let given: Vec<(String, Value)> = table.inputs.iter().map(|i| (i.name.value.clone(), i.value.value.clone())).collect();
        let wrong = method.check_inputs(&given);
        let sound = wrong.is_empty();
        for finding in wrong {
            let input = table.inputs.iter().find(|i| Some(&i.name.value) == finding.input.as_ref());
            let span = input.map_or(table.inputs_span, |i| if finding.in_value { i.value.span } else { i.name.span });
            self.error("wrong-input", span, finding.message, finding.help);
        }
        if !sound {
            return Ok(None);
        }
        let inputs = method.with_defaults(&given);
        if method.method_id == "file_ingest" {
            return self.files(table, &inputs, from).await;
        }
        let Some(program) = &method.program else {
            let message = format!("method `{}` brings no rows: it has no program", method.method_id);
            let help = match method.method_id.as_str() {
                lake_catalog::builtin::REFINE => "it is what the tables of `silver:` do; use `file_ingest`",
                lake_catalog::builtin::AGGREGATE => "it is what the tables of `gold:` do; use `file_ingest`",
                _ => "add a `program` to it in the catalog, or use `file_ingest`",
            };
            self.error("not-a-source", table.method.span, message, Some(help.into()));
            return Ok(None);
        };
        let declared = declared(table, &output_columns(method), true);
        Ok(Some(BronzeSource::Program(ProgramIntake {
            table: table.name.value.clone(),
            description: table.description.clone(),
            method: method.method_id.clone(),
            command: program.command.clone(),
            inputs: Value::Object(inputs),
            timeout: Duration::from_secs(program.timeout_seconds),
            declared,
            workspace: from.clone(),
        })))
    }

    async fn files(
        &mut self,
        table: &BronzeTable,
        inputs: &Map<String, Value>,
        from: &WorkspaceFrom,
    ) -> Result<Option<BronzeSource>> {
        let span = |name: &str| table.inputs.iter().find(|i| i.name.value == name).map_or(table.inputs_span, |i| i.value.span);
        let text = |name: &str| inputs.get(name).and_then(Value::as_str);
        let path = text("path").unwrap_or_default();
        let format = text("format").map(str::parse::<Format>).transpose()?;
        let store: Arc<dyn SourceStore> = match source::connect(path, self.request.lake) {
            Ok(store) => store.into(),
            Err(error) => return Ok(self.refused("no-source", span("path"), &error)),
        };
        let Some(files) = self.listed(table, store.as_ref(), path, format).await? else { return Ok(None) };
        if format.is_none()
            && let Some((code, message, help)) = untold_format(&files)
        {
            self.error(code, span("path"), message, Some(help.into()));
            return Ok(None);
        }
        let told = || Format::from_file_name(files.first().map_or(path, |f| f.path.as_str()));
        let mut options = ReadOptions::new(format.or_else(told).unwrap_or(Format::Ndjson));
        options.compression = match text("compression") {
            Some("none") => Some(Compression::None),
            Some("gzip") => Some(Compression::Gzip),
            Some("zstd") => Some(Compression::Zstd),
            _ => None,
        };
        let given = |name: &str| table.inputs.iter().any(|i| i.name.value == name);
        if given("delimiter") {
            match text("delimiter").map(str::as_bytes) {
                Some([byte]) if byte.is_ascii() => options.delimiter = Some(*byte),
                _ => {
                    self.error(
                        "wrong-input",
                        span("delimiter"),
                        "`delimiter` is not one ASCII character",
                        Some("write `\",\"` or `\"\\t\"`".into()),
                    );
                    return Ok(None);
                }
            }
        }
        options.header = inputs.get("header").and_then(Value::as_bool).unwrap_or(true);
        if let WorkspaceFrom::Column(column) = from {
            options.workspace_column = Some(column.clone());
        }
        let declared = declared(table, &[], options.format != Format::Parquet);
        let (name, description) = (table.name.value.clone(), table.description.clone());
        Ok(Some(BronzeSource::Files(Intake {
            table: name,
            description,
            files,
            store,
            options,
            format_by_name: format.is_none(),
            declared,
            workspace: from.clone(),
        })))
    }

    /// The files that `path` names. Feeds are emptied once they were read, which is worth a warning; where no file ever was, the path is wrong.
    async fn listed(
        &mut self,
        table: &BronzeTable,
        store: &dyn SourceStore,
        path: &str,
        format: Option<Format>,
    ) -> Result<Option<Vec<SourceFile>>> {
        let error = match store.list(path, format).await {
            Ok(files) => return Ok(Some(files)),
            Err(error) => error,
        };
        let was_filled = self.request.lake.snapshot(&table.name.value, At::Latest).await?.is_some();
        if error.kind() != ErrorKind::NotFound || !was_filled {
            return Ok(self.refused("no-source", path_span(table), &error));
        }
        self.warning("no-source", path_span(table), error.to_string(), error.hint().map(String::from));
        Ok(Some(vec![]))
    }

    /// What is known of a Bronze table's columns before it is loaded: those it has, those declared, those its new files show.
    async fn bronze_schema(&mut self, table: &BronzeTable, source: &BronzeSource) -> Result<Option<BronzeSchema>> {
        let existing = self.request.lake.snapshot(&table.name.value, At::Latest).await?;
        let known = existing.as_ref().map_or_else(|| Arc::new(Schema::empty()), |s| raw_columns(s.schema()));
        let (raw, complete) = match source {
            BronzeSource::Program(intake) => (merge_schemas(&known, &intake.declared), false),
            BronzeSource::Files(intake) => {
                let progress = match &existing {
                    Some(table) => table.progress().await?,
                    None => Default::default(),
                };
                let loaded = |f: &&SourceFile| crate::ingest::job::is_loaded(f, &progress);
                let new: Vec<_> = intake.files.iter().filter(|f| !loaded(f)).collect();
                match peek_all(intake, &merge_schemas(&known, &intake.declared), &new).await {
                    Ok((raw, _)) if raw.fields().is_empty() && !new.is_empty() => {
                        let span = path_span(table);
                        let format = intake.options_for(new[0], Arc::new(raw)).format;
                        let message = format!("no record of `{}` can be read as {}", new[0].path, format.as_str());
                        let help = "say with `format:` what the files are: `csv`, `ndjson`, `json` or `parquet`";
                        self.error("unreadable-source", span, message, Some(help.into()));
                        return Ok(None);
                    }
                    Ok(found) => found,
                    Err(error) => {
                        let span = path_span(table);
                        self.refused::<()>("unreadable-source", span, &error);
                        return Ok(None);
                    }
                }
            }
        };
        let mut fields: Vec<_> = bronze_schema(&settle(&raw)).fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(WORKSPACE_COLUMN, DataType::Utf8, true)));
        Ok(Some(BronzeSchema { schema: Arc::new(Schema::new(fields)), complete }))
    }

    /// Tables of the lake that the pipeline does not build.
    async fn existing(&self) -> Result<BTreeMap<TableName, SchemaRef>> {
        let own: Vec<&TableName> = self.pipeline.tables().collect();
        let mut found = BTreeMap::new();
        for name in self.request.lake.tables().await? {
            if own.contains(&&name) {
                continue;
            }
            // A table that the pipeline does not build must not keep it from running.
            match self.request.lake.snapshot(&name, At::Latest).await {
                Ok(Some(snapshot)) => drop(found.insert(name, snapshot.schema().clone())),
                Ok(None) => {}
                Err(error) => tracing::warn!("{error}"),
            }
        }
        Ok(found)
    }

    /// Tries every expression of Silver on a row of nulls: what fails on it fails on every row.
    fn all_compute(&mut self, compiled: &CompiledPipeline) -> bool {
        let session = self.request.lake.engine().session();
        let pipeline = self.pipeline;
        for table in compiled.silver.values() {
            let Some(written) = pipeline.silver.iter().find(|t| t.name.value == table.name) else { continue };
            for (part, error) in RowRules::from(table).failing(&session) {
                let select = written.select.iter().find(|(name, _)| name.value == part).map(|(_, e)| e.span);
                let expect = written.expect.iter().find(|e| e.name.value == part).map(|e| e.check.span);
                let span = select.or(expect).unwrap_or(written.name.span);
                self.error(
                    "cannot-compute",
                    span,
                    format!("`{part}` cannot be computed, whatever the row"),
                    error.hint().map(String::from),
                );
            }
        }
        self.findings.iter().all(|f| f.code != "cannot-compute")
    }

    fn refused<T>(&mut self, code: &'static str, span: Span, error: &Error) -> Option<T> {
        self.error(code, span, error.to_string(), error.hint().map(String::from));
        None
    }

    fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>, help: Option<String>) {
        let source: &Arc<Source> = &self.pipeline.source;
        let diagnostic = Diagnostic::error(code, source, span, message);
        self.findings.push(Diagnostic { help, ..diagnostic });
    }

    fn warning(&mut self, code: &'static str, span: Span, message: impl Into<String>, help: Option<String>) {
        let diagnostic = Diagnostic::warning(code, &self.pipeline.source, span, message);
        self.findings.push(Diagnostic { help, ..diagnostic });
    }
}

fn path_span(table: &BronzeTable) -> Span {
    table.inputs.iter().find(|i| i.name.value == "path").map_or(table.inputs_span, |i| i.value.span)
}

fn unreadable_pipeline(path: &str, error: &std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let (why, hint) = match error.kind() {
        Io::NotFound => ("there is no such file", "give the path of a pipeline file; `lake init` writes one"),
        Io::InvalidData => ("it is not UTF-8", "save it as UTF-8"),
        Io::PermissionDenied => ("it may not be read", "check who may read the file"),
        Io::IsADirectory => ("it is a folder", "give the path of a pipeline file in it"),
        _ => ("the system refuses", "check the path and the disk"),
    };
    Error::new(ErrorKind::Config, format!("cannot read the pipeline `{path}`: {why}")).with_hint(hint)
}

/// Why the names of `files` do not tell how to read each: code, message and help.
fn untold_format(files: &[SourceFile]) -> Option<(&'static str, String, &'static str)> {
    if let Some(file) = files.iter().find(|f| Format::from_file_name(&f.path).is_none()) {
        let message = format!("the name of `{}` does not tell its format", file.path);
        return Some(("unknown-format", message, "add `format: csv`, `ndjson`, `json` or `parquet`"));
    }
    let is_parquet = |f: &&SourceFile| Format::from_file_name(&f.path) == Some(Format::Parquet);
    let (parquet, text) = (files.iter().find(is_parquet)?, files.iter().find(|f| !is_parquet(f))?);
    let message = format!("`{}` has types and `{}` is text, which one table cannot hold", parquet.path, text.path);
    Some(("mixed-formats", message, "give the Parquet files a table of their own"))
}

async fn peek_all(intake: &Intake, known: &Schema, new: &[&SourceFile]) -> Result<(Schema, bool)> {
    let mut raw = known.clone();
    let mut complete = new.len() <= FILES_TO_PEEK;
    let stop = CancellationToken::new();
    // A look at a file ends long before the file does, or with a user who stops waiting for it.
    let _stopped_at_the_end = stop.clone().drop_guard();
    for file in new.iter().take(FILES_TO_PEEK) {
        let input = intake.store.open(file, &stop).await?;
        let options = intake.options_for(file, Arc::new(raw.clone()));
        let name = file.path.clone();
        let (schema, whole) = tokio::task::spawn_blocking(move || peek(input, &options, &name))
            .await
            .map_err(|e| Error::new(ErrorKind::Internal, "a file could not be looked at").with_source(e))??;
        raw = merge_schemas(&raw, &schema);
        complete &= whole;
    }
    Ok((raw, complete))
}

/// The columns that the pipeline or the catalog says a table will have. Leaves of text formats are text, whatever their type is later.
fn declared(table: &BronzeTable, outputs: &[(String, DataType)], text: bool) -> SchemaRef {
    let given = table.columns.iter().map(|(name, kind)| (name.value.clone(), kind.value.clone()));
    let fields: Vec<Field> = outputs
        .iter()
        .cloned()
        .chain(given)
        .map(|(name, kind)| Field::new(name, if text { textual(&kind) } else { kind }, true))
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    Arc::new(Schema::new(fields.into_iter().filter(|f| seen.insert(f.name().clone())).collect::<Vec<_>>()))
}

fn textual(kind: &DataType) -> DataType {
    match kind {
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|f| Field::new(f.name(), textual(f.data_type()), true)).collect::<Fields>())
        }
        DataType::List(item) => DataType::List(Arc::new(Field::new(item.name(), textual(item.data_type()), true))),
        _ => DataType::Utf8,
    }
}

fn output_columns(method: &Method) -> Vec<(String, DataType)> {
    method.outputs.iter().map(|(name, kind)| (name.clone(), arrow_type(kind))).collect()
}

fn entity_types(ontology: &Ontology) -> Vec<EntityType> {
    let columns =
        |e: &lake_catalog::Entity| e.attributes.iter().map(|a| (a.name.clone(), arrow_type(&a.data_type), a.required)).collect();
    ontology.entities.iter().map(|e| EntityType { name: e.name.clone(), columns: columns(e), key: e.key.clone() }).collect()
}

/// The Arrow type that stores an attribute.
fn arrow_type(kind: &AttributeType) -> DataType {
    match kind {
        AttributeType::String => DataType::Utf8,
        AttributeType::Integer => DataType::Int32,
        AttributeType::Long => DataType::Int64,
        AttributeType::Float => DataType::Float32,
        AttributeType::Double => DataType::Float64,
        AttributeType::Boolean => DataType::Boolean,
        AttributeType::Date => DataType::Date32,
        AttributeType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        AttributeType::Decimal { precision, scale } => DataType::Decimal128(*precision, i8::try_from(*scale).unwrap_or_default()),
        AttributeType::Array(item) => DataType::List(Arc::new(Field::new("element", arrow_type(item), true))),
    }
}
