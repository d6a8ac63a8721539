//! What can be asked of every catalog: a method by id, an ontology by version, lineage over many tables.

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures::future::try_join_all;

use crate::catalog::Catalog;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage_tree::{Direction, LineageGraph, LineageItem, LineageTree, datasets_read};
use crate::method::Method;
use crate::nearest::advice;
use crate::ontology::Ontology;
use crate::record::TableRecord;

/// Sugar over [`Catalog`]; every catalog has it.
#[async_trait]
pub trait CatalogExt: Catalog {
    /// The method of this id.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], with the nearest id as hint; else as [`Catalog::list_methods`].
    async fn method(&self, method_id: &str) -> Result<Method> {
        let methods = self.list_methods(None).await?;
        if let Some(method) = methods.iter().find(|method| method.method_id == method_id) {
            return Ok(method.clone());
        }
        let known = methods.iter().map(|method| method.method_id.as_str());
        Err(not_found(format!("the catalog has no method `{method_id}`"), advice(method_id, known)))
    }

    /// The ontology of this version, or the greatest.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], with the greatest version there is as hint; else as [`Catalog::get_ontology`].
    async fn ontology(&self, version: Option<&str>) -> Result<Ontology> {
        if let Some(ontology) = self.get_ontology(version).await? {
            return Ok(ontology);
        }
        match (version, self.get_ontology(None).await?) {
            (Some(version), Some(greatest)) => {
                let hint = format!("the greatest version is `{}`", greatest.version);
                Err(not_found(format!("the catalog has no ontology `{version}`"), Some(hint)))
            }
            _ => Err(not_found("the catalog has no ontology", Some("add one to its `ontologies`".to_owned()))),
        }
    }

    /// What a table or column is made from, at most `depth` steps away (`usize::MAX`: all the way). A table or column that
    /// is known but has no recorded lineage is a tree without children.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the catalog knows nothing of it, with the nearest name as hint; or it cannot be read.
    async fn upstream(&self, item: impl Into<LineageItem> + Send, depth: usize) -> Result<LineageTree> {
        let item = item.into();
        let graph = graph_above(self, &item.dataset, depth).await?;
        if !is_in_lineage(&graph, &item) && !item.is_source() {
            check_known(&graph, &self.tables().await?, &item)?;
        }
        Ok(graph.tree(item, Direction::Upstream, depth))
    }

    /// What is made from a table, source or column, at most `depth` steps away. It is looked for in the lineage of the
    /// tables that are registered. Where a column decides on the rows of a table, the tree goes on with that table.
    ///
    /// # Errors
    /// As [`upstream`](CatalogExt::upstream).
    async fn downstream(&self, item: impl Into<LineageItem> + Send, depth: usize) -> Result<LineageTree> {
        let item = item.into();
        let tables = self.tables().await?;
        let mut names: BTreeSet<String> = tables.iter().map(|table| table.name.clone()).collect();
        names.insert(item.dataset.clone());
        let mut graph = LineageGraph::default();
        load(self, &mut graph, names).await?;
        let is_read_source = item.is_source() && graph.reads(&item.dataset);
        if !is_in_lineage(&graph, &item) && !is_read_source {
            check_known(&graph, &tables, &item)?;
        }
        Ok(graph.tree(item, Direction::Downstream, depth))
    }
}

impl<C: Catalog + ?Sized> CatalogExt for C {}

/// The lineage of `dataset` and of what it is made from, `depth` steps up.
async fn graph_above<C: Catalog + ?Sized>(catalog: &C, dataset: &str, depth: usize) -> Result<LineageGraph> {
    let mut graph = LineageGraph::default();
    let mut seen = BTreeSet::from([dataset.to_owned()]);
    let mut next = seen.clone();
    // One step more than asked for, so that the tree knows whether it is cut off.
    let mut steps_left = depth.saturating_add(1);
    while !next.is_empty() && steps_left > 0 {
        let loaded = load(catalog, &mut graph, next).await?;
        next = loaded.into_iter().filter(|name| seen.insert(name.clone())).collect();
        steps_left -= 1;
    }
    Ok(graph)
}

/// Puts the lineage of `datasets` into `graph`, and gives the datasets that they read.
async fn load<C: Catalog + ?Sized>(
    catalog: &C,
    graph: &mut LineageGraph,
    datasets: BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let lineages = try_join_all(datasets.iter().map(|dataset| catalog.table_lineage(dataset))).await?;
    let mut read = BTreeSet::new();
    for (dataset, lineage) in datasets.into_iter().zip(lineages) {
        let Some(lineage) = lineage else { continue };
        read.extend(datasets_read(&lineage).into_iter().map(str::to_owned));
        graph.insert(dataset, lineage);
    }
    Ok(read)
}

fn is_in_lineage(graph: &LineageGraph, item: &LineageItem) -> bool {
    let Some(lineage) = graph.get(&item.dataset) else { return false };
    item.column.as_ref().is_none_or(|column| lineage.column(column).is_some())
}

/// Whether the item is in the tables or the lineage; a good error when it is not.
fn check_known(graph: &LineageGraph, tables: &[TableRecord], item: &LineageItem) -> Result<()> {
    let dataset = &item.dataset;
    let table = tables.iter().find(|table| table.name == *dataset);
    let lineage = graph.get(dataset);
    if table.is_none() && lineage.is_none() {
        let known = tables.iter().map(|table| table.name.as_str());
        return Err(not_found(format!("the catalog knows no `{dataset}`"), advice(dataset, known)));
    }
    let Some(column) = &item.column else { return Ok(()) };
    let mut known: Vec<&str> = table.iter().flat_map(|table| &table.columns).map(|column| column.name.as_str()).collect();
    known.extend(lineage.iter().flat_map(|lineage| &lineage.columns).map(|column| column.column.as_str()));
    if known.contains(&column.as_str()) {
        return Ok(());
    }
    known.sort_unstable();
    known.dedup();
    Err(not_found(format!("`{dataset}` has no column `{column}`"), advice(column, known)))
}

fn not_found(message: impl Into<String>, hint: Option<String>) -> Error {
    let error = Error::new(ErrorKind::NotFound, message);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}
