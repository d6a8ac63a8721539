//! The lineage of each table, from the expressions and plans that build it.

use std::collections::{BTreeMap, BTreeSet};

use lake::lineage::{expr_lineage, plan_lineage};
use lake::pipeline::{CompiledGraph, CompiledSilver, CompiledVectors, Otherwise, TableName};
use lake_catalog::{ColumnLineage, ColumnRef, DirectSource, IndirectKind, IndirectSource, SourceKind, TableLineage};

use crate::ingest::job::raw_columns;
use crate::prepare::{BronzeSource, Project};

/// The lineage of `name`; `None` when the project does not build it.
pub(crate) fn of_table(project: &Project, name: &TableName) -> Option<TableLineage> {
    if let Some(source) = project.bronze.get(name) {
        return Some(bronze(project, name, source));
    }
    if let Some(table) = project.compiled.silver.get(name) {
        return Some(silver(table));
    }
    if let Some(table) = project.compiled.vectors.get(name) {
        return Some(vectors(table));
    }
    let table = project.compiled.by_query(name)?;
    let mut lineage = plan_lineage(&name.to_string(), &table.plan);
    lineage.columns.retain(|c| c.column != lake::WORKSPACE_COLUMN);
    lineage.sql = Some(table.sql.clone());
    if let Some(graph) = &project.compiled.property_graph {
        lineage.columns.extend(properties(graph, name));
    }
    Some(lineage)
}

/// The text comes from `embed`, the vector from the text; `where` decides which rows there are.
fn vectors(table: &CompiledVectors) -> TableLineage {
    let input = table.input.to_string();
    let mut indirect: BTreeSet<IndirectSource> = BTreeSet::new();
    let mut columns = vec![];
    let key = table.id.iter().map(|id| DirectSource {
        source: ColumnRef::new(input.clone(), id.clone()),
        kind: SourceKind::Transformation,
        expression: None,
    });
    columns.push(ColumnLineage { column: "row_key".into(), sources: key.collect() });
    let text = expr_lineage(&table.text, &input);
    indirect.extend(text.indirect);
    let vector = text.sources.iter().map(|s| DirectSource {
        kind: SourceKind::Transformation,
        expression: Some("embedding".into()),
        source: s.source.clone(),
    });
    columns.push(ColumnLineage { column: "embedding".into(), sources: vector.collect() });
    columns.push(ColumnLineage { column: "text".into(), sources: text.sources });
    for column in &table.payload {
        let found = expr_lineage(&column.expr, &input);
        indirect.extend(found.indirect);
        columns.push(ColumnLineage { column: column.name.clone(), sources: found.sources });
    }
    if let Some(filter) = &table.filter {
        indirect.extend(expr_lineage(filter, &input).into_indirect(IndirectKind::Filter));
    }
    let (output, indirect) = (table.name.to_string(), indirect.into_iter().collect());
    TableLineage { output, inputs: vec![input], columns, indirect, sql: None, run_id: None, version: None }
}

/// What each property of a graph's nodes or edges is made from: `Person.name`, `WROTE.at`.
fn properties(graph: &CompiledGraph, table: &TableName) -> Vec<ColumnLineage> {
    let owners = if *table == graph.nodes.name { &graph.graph.labels } else { &graph.graph.kinds };
    let mut columns: BTreeMap<&str, BTreeSet<DirectSource>> = BTreeMap::new();
    for source in &graph.properties {
        let owner = source.property.split('.').next().unwrap_or_default();
        if owners.iter().any(|o| o == owner) {
            let found = expr_lineage(&source.expr, &source.input.to_string());
            columns.entry(&source.property).or_default().extend(found.sources);
        }
    }
    let columns = columns.into_iter();
    columns.map(|(column, sources)| ColumnLineage { column: column.to_owned(), sources: sources.into_iter().collect() }).collect()
}

/// Bronze keeps what was delivered, column by column.
fn bronze(project: &Project, name: &TableName, source: &BronzeSource) -> TableLineage {
    let (dataset, schema) = match source {
        BronzeSource::Files(intake) => {
            let path = project.pipeline().bronze.iter().find(|t| t.name.value == *name).and_then(|t| {
                t.inputs.iter().find(|i| i.name.value == "path").and_then(|i| i.value.value.as_str().map(String::from))
            });
            (format!("file:{}", path.unwrap_or_default()), &intake.declared)
        }
        BronzeSource::Program(intake) => (format!("method:{}", intake.method), &intake.declared),
    };
    let known = project.bronze_columns.get(name).unwrap_or(schema);
    let raw = raw_columns(known);
    let columns = raw.fields().iter().map(|field| ColumnLineage {
        column: field.name().clone(),
        sources: vec![DirectSource {
            source: ColumnRef::new(dataset.clone(), field.name().clone()),
            kind: SourceKind::Identity,
            expression: None,
        }],
    });
    TableLineage {
        output: name.to_string(),
        inputs: vec![dataset.clone()],
        columns: columns.collect(),
        indirect: vec![],
        sql: None,
        run_id: None,
        version: None,
    }
}

/// The values come from `select`; `where`, `delete_when`, the expectations, the key and the sequence decide which rows there
/// are; an expectation that warns or fails leaves no row out.
fn silver(table: &CompiledSilver) -> TableLineage {
    let input = table.input.to_string();
    let mut indirect: BTreeSet<IndirectSource> = BTreeSet::new();
    let mut columns = vec![];
    for column in &table.columns {
        let found = expr_lineage(&column.expr, &input);
        indirect.extend(found.indirect);
        columns.push(ColumnLineage { column: column.name.clone(), sources: found.sources });
    }
    for condition in table.filter.iter().chain(&table.delete_when) {
        indirect.extend(expr_lineage(condition, &input).into_indirect(IndirectKind::Filter));
    }
    let own = |column: &str| columns.iter().find(|c| c.column == column);
    let resolve = |sources: Vec<IndirectSource>| -> Vec<IndirectSource> {
        let through = |s: IndirectSource| match own(&s.source.column) {
            Some(output) => output.sources.iter().map(|d| IndirectSource { source: d.source.clone(), kind: s.kind }).collect(),
            None => vec![s],
        };
        sources.into_iter().flat_map(through).collect()
    };
    let decides = |otherwise| matches!(otherwise, Otherwise::Drop | Otherwise::Quarantine);
    for expectation in table.expectations.iter().filter(|e| decides(e.otherwise)) {
        indirect.extend(resolve(expr_lineage(&expectation.expr, &input).into_indirect(IndirectKind::Filter)));
    }
    if let Some(sequence) = &table.sequence_by {
        indirect.extend(resolve(expr_lineage(sequence, &input).into_indirect(IndirectKind::Sort)));
    }
    for key in table.key.iter().filter_map(|i| columns.get(*i)) {
        indirect.extend(key.sources.iter().map(|d| IndirectSource { source: d.source.clone(), kind: IndirectKind::GroupBy }));
    }
    TableLineage {
        output: table.name.to_string(),
        inputs: vec![input],
        columns,
        indirect: indirect.into_iter().collect(),
        sql: None,
        run_id: None,
        version: None,
    }
}
