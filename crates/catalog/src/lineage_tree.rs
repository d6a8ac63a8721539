//! Lineage as a tree: where an item comes from, or where it goes, over many tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::Serialize;

use crate::lineage::{ColumnRef, Directness, IndirectKind, SourceKind, TableLineage};

/// A dataset or one of its columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LineageItem {
    /// A table or a source.
    pub dataset: String,
    /// The column; `None` for the whole dataset.
    pub column: Option<String>,
}

impl LineageItem {
    /// The whole of `dataset`.
    pub fn table(dataset: impl Into<String>) -> Self {
        Self { dataset: dataset.into(), column: None }
    }

    /// Whether the dataset is a source outside the lake, such as `file:data/posts.csv`.
    pub fn is_source(&self) -> bool {
        self.dataset.contains(':')
    }
}

impl From<ColumnRef> for LineageItem {
    fn from(column: ColumnRef) -> Self {
        Self { dataset: column.dataset, column: Some(column.column) }
    }
}

impl From<&ColumnRef> for LineageItem {
    fn from(column: &ColumnRef) -> Self {
        column.clone().into()
    }
}

impl From<&str> for LineageItem {
    /// `layer.table` is a table and `layer.table.column` a column. The name of a source may have dots, so a text with a
    /// colon is a source as a whole; use [`ColumnRef`] for its columns.
    fn from(text: &str) -> Self {
        let second_dot = text.match_indices('.').nth(1).map(|(at, _)| at).filter(|_| !text.contains(':'));
        match second_dot.and_then(|at| text.split_at_checked(at)) {
            Some((dataset, column)) => ColumnRef::new(dataset, column.trim_start_matches('.')).into(),
            None => Self::table(text),
        }
    }
}

impl fmt::Display for LineageItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "{}.{column}", self.dataset),
            None => f.write_str(&self.dataset),
        }
    }
}

/// How an item of the tree is joined to the one above it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LineageLink {
    /// Values of one are made from values of the other.
    Direct {
        /// How.
        subtype: SourceKind,
        /// The SQL expression.
        #[serde(skip_serializing_if = "Option::is_none")]
        expression: Option<String>,
    },
    /// One decides on the rows of the other.
    Indirect {
        /// How.
        subtype: IndirectKind,
    },
    /// One dataset is read to make the other; nothing is said of columns.
    Dataset,
}

impl LineageLink {
    /// Direct or indirect; `None` between datasets.
    pub fn directness(&self) -> Option<Directness> {
        match self {
            Self::Direct { .. } => Some(Directness::Direct),
            Self::Indirect { .. } => Some(Directness::Indirect),
            Self::Dataset => None,
        }
    }
}

/// An item and, below it, what it is made from (upstream) or what is made from it (downstream).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineageTree {
    /// The item.
    #[serde(flatten)]
    pub item: LineageItem,
    /// How it is joined to the item above; `None` at the root.
    pub link: Option<LineageLink>,
    /// What is below it is shown at another place of the tree, where the same item stands (also in a cycle).
    pub repeated: bool,
    /// There is more below it, and the depth that was asked for ends here.
    pub cut_off: bool,
    /// Direct ones first.
    pub children: Vec<LineageTree>,
}

/// Which way to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Upstream,
    Downstream,
}

/// The lineage of some tables, by output.
#[derive(Debug, Default)]
pub(crate) struct LineageGraph(BTreeMap<String, TableLineage>);

impl LineageGraph {
    pub(crate) fn insert(&mut self, dataset: String, lineage: TableLineage) {
        self.0.insert(dataset, lineage);
    }

    pub(crate) fn get(&self, dataset: &str) -> Option<&TableLineage> {
        self.0.get(dataset)
    }

    /// Whether some table of the graph reads `dataset`.
    pub(crate) fn reads(&self, dataset: &str) -> bool {
        self.0.values().any(|lineage| datasets_read(lineage).contains(dataset))
    }

    /// The tree of `root`, at most `depth` items below it.
    pub(crate) fn tree(&self, root: LineageItem, direction: Direction, depth: usize) -> LineageTree {
        let mut grower = Grower { graph: self, direction, grown: HashMap::new() };
        grower.grow(root, None, depth)
    }

    fn above(&self, item: &LineageItem) -> Vec<(LineageLink, LineageItem)> {
        let Some(lineage) = self.get(&item.dataset) else { return Vec::new() };
        let Some(column) = &item.column else {
            return datasets_read(lineage).into_iter().map(|input| (LineageLink::Dataset, LineageItem::table(input))).collect();
        };
        let sources = lineage.column(column).map(|column| column.sources.as_slice()).unwrap_or_default();
        let direct = sources.iter().map(|source| (direct(source.kind, &source.expression), (&source.source).into()));
        let indirect =
            lineage.indirect.iter().map(|source| (LineageLink::Indirect { subtype: source.kind }, (&source.source).into()));
        direct.chain(indirect).collect()
    }

    fn below(&self, item: &LineageItem) -> Vec<(LineageLink, LineageItem)> {
        let Some(column) = &item.column else {
            let readers = self.0.values().filter(|lineage| datasets_read(lineage).contains(item.dataset.as_str()));
            return readers.map(|lineage| (LineageLink::Dataset, LineageItem::table(&lineage.output))).collect();
        };
        let wanted = ColumnRef::new(&item.dataset, column);
        let mut made = Vec::new();
        let mut decided = Vec::new();
        for lineage in self.0.values() {
            for made_column in &lineage.columns {
                let uses = made_column.sources.iter().filter(|source| source.source == wanted);
                let target = LineageItem::from(ColumnRef::new(&lineage.output, &made_column.column));
                made.extend(uses.map(|source| (direct(source.kind, &source.expression), target.clone())));
            }
            // It decides on the rows of the whole table, so the table stands for all of its columns.
            let uses = lineage.indirect.iter().filter(|source| source.source == wanted);
            let target = LineageItem::table(&lineage.output);
            decided.extend(uses.map(|source| (LineageLink::Indirect { subtype: source.kind }, target.clone())));
        }
        made.append(&mut decided);
        made
    }
}

/// Every dataset a lineage speaks of as input.
pub(crate) fn datasets_read(lineage: &TableLineage) -> BTreeSet<&str> {
    let direct = lineage.columns.iter().flat_map(|column| &column.sources).map(|source| source.source.dataset.as_str());
    let indirect = lineage.indirect.iter().map(|source| source.source.dataset.as_str());
    lineage.inputs.iter().map(String::as_str).chain(direct).chain(indirect).collect()
}

fn direct(subtype: SourceKind, expression: &Option<String>) -> LineageLink {
    LineageLink::Direct { subtype, expression: expression.clone() }
}

struct Grower<'g> {
    graph: &'g LineageGraph,
    direction: Direction,
    /// Items whose children are in the tree, and to which depth. It ends cycles and keeps diamonds from multiplying.
    grown: HashMap<LineageItem, usize>,
}

impl Grower<'_> {
    fn grow(&mut self, item: LineageItem, link: Option<LineageLink>, depth: usize) -> LineageTree {
        let mut next = match self.direction {
            Direction::Upstream => self.graph.above(&item),
            Direction::Downstream => self.graph.below(&item),
        };
        let mut seen = BTreeSet::new();
        next.retain(|edge| seen.insert(edge.clone()));
        let mut tree = LineageTree { item, link, repeated: false, cut_off: false, children: Vec::new() };
        if next.is_empty() {
            return tree;
        }
        if self.grown.get(&tree.item).is_some_and(|grown| *grown >= depth) {
            tree.repeated = true;
        } else if depth == 0 {
            tree.cut_off = true;
        } else {
            self.grown.insert(tree.item.clone(), depth);
            tree.children = next.into_iter().map(|(link, item)| self.grow(item, Some(link), depth - 1)).collect();
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::{ColumnLineage, DirectSource, IndirectSource};

    /// `output` with `columns` as (name, source dataset, source column), and rows filtered by `filter`.
    fn lineage(output: &str, columns: &[(&str, &str, &str)], filter: Option<(&str, &str)>) -> TableLineage {
        let source = |dataset: &str, column: &str| DirectSource {
            source: ColumnRef::new(dataset, column),
            kind: SourceKind::Identity,
            expression: None,
        };
        let columns: Vec<ColumnLineage> = columns
            .iter()
            .map(|(name, dataset, column)| ColumnLineage { column: (*name).into(), sources: vec![source(dataset, column)] })
            .collect();
        let indirect = filter
            .map(|(dataset, column)| IndirectSource { source: ColumnRef::new(dataset, column), kind: IndirectKind::Filter });
        let inputs = columns.iter().map(|column| column.sources[0].source.dataset.clone()).collect();
        let indirect = indirect.into_iter().collect();
        TableLineage { output: output.into(), inputs, columns, indirect, sql: None, run_id: None, version: None }
    }

    fn graph(lineages: Vec<TableLineage>) -> LineageGraph {
        LineageGraph(lineages.into_iter().map(|lineage| (lineage.output.clone(), lineage)).collect())
    }

    /// The tree as indented lines.
    fn shown(tree: &LineageTree) -> Vec<String> {
        fn walk(tree: &LineageTree, indent: usize, lines: &mut Vec<String>) {
            let kind = match &tree.link {
                Some(LineageLink::Direct { .. }) => " direct",
                Some(LineageLink::Indirect { .. }) => " indirect",
                _ => "",
            };
            let end = if tree.repeated {
                " repeated"
            } else if tree.cut_off {
                " cut off"
            } else {
                ""
            };
            lines.push(format!("{}{}{kind}{end}", "  ".repeat(indent), tree.item));
            tree.children.iter().for_each(|child| walk(child, indent + 1, lines));
        }
        let mut lines = Vec::new();
        walk(tree, 0, &mut lines);
        lines
    }

    fn medallion() -> LineageGraph {
        graph(vec![
            lineage("bronze.posts", &[("id", "file:posts.csv", "id"), ("text", "file:posts.csv", "text")], None),
            lineage("silver.posts", &[("body", "bronze.posts", "text")], Some(("bronze.posts", "id"))),
            lineage("gold.daily", &[("n", "silver.posts", "body")], None),
        ])
    }

    #[test]
    fn a_column_is_followed_to_the_files() {
        let tree = medallion().tree("gold.daily.n".into(), Direction::Upstream, usize::MAX);
        assert_eq!(
            shown(&tree),
            [
                "gold.daily.n",
                "  silver.posts.body direct",
                "    bronze.posts.text direct",
                "      file:posts.csv.text direct",
                "    bronze.posts.id indirect",
                "      file:posts.csv.id direct",
            ]
        );
    }

    #[test]
    fn a_table_is_followed_to_the_files() {
        let tree = medallion().tree("gold.daily".into(), Direction::Upstream, usize::MAX);
        assert_eq!(shown(&tree), ["gold.daily", "  silver.posts", "    bronze.posts", "      file:posts.csv"]);
    }

    #[test]
    fn a_column_is_followed_to_what_it_makes_and_decides() {
        let tree = medallion().tree(ColumnRef::new("file:posts.csv", "id").into(), Direction::Downstream, usize::MAX);
        assert_eq!(
            shown(&tree),
            ["file:posts.csv.id", "  bronze.posts.id direct", "    silver.posts indirect", "      gold.daily"]
        );
    }

    #[test]
    fn depth_ends_the_tree_and_says_so_only_where_there_is_more() {
        let tree = |depth| shown(&medallion().tree("gold.daily".into(), Direction::Upstream, depth));
        assert_eq!(tree(0), ["gold.daily cut off"]);
        assert_eq!(tree(1), ["gold.daily", "  silver.posts cut off"]);
        assert_eq!(tree(3), tree(100));
    }

    #[test]
    fn a_cycle_ends() {
        let graph = graph(vec![lineage("a.a", &[("x", "b.b", "x")], None), lineage("b.b", &[("x", "a.a", "x")], None)]);
        for direction in [Direction::Upstream, Direction::Downstream] {
            let tree = graph.tree("a.a.x".into(), direction, usize::MAX);
            assert_eq!(shown(&tree), ["a.a.x", "  b.b.x direct", "    a.a.x direct repeated"]);
        }
    }

    #[test]
    fn a_source_that_is_recorded_twice_is_shown_once() {
        let mut twice = lineage("t.a", &[("x", "t.b", "x")], Some(("t.b", "op")));
        twice.indirect.push(twice.indirect[0].clone());
        let graph = graph(vec![twice]);
        let up = graph.tree("t.a.x".into(), Direction::Upstream, 9);
        assert_eq!(shown(&up), ["t.a.x", "  t.b.x direct", "  t.b.op indirect"]);
        let down = graph.tree("t.b.op".into(), Direction::Downstream, 9);
        assert_eq!(shown(&down), ["t.b.op", "  t.a indirect"]);
    }

    #[test]
    fn diamonds_do_not_multiply() {
        let level = |n: usize| {
            let below = format!("t.l{}", n + 1);
            let columns = [("x", below.as_str(), "x"), ("y", below.as_str(), "y")];
            let mut lineage = lineage(&format!("t.l{n}"), &columns, None);
            let both = [lineage.columns[0].sources[0].clone(), lineage.columns[1].sources[0].clone()];
            lineage.columns.iter_mut().for_each(|column| column.sources = both.to_vec());
            lineage
        };
        let tree = graph((0..60).map(level).collect()).tree("t.l0.x".into(), Direction::Upstream, usize::MAX);
        assert!(shown(&tree).len() < 400);
    }

    #[test]
    fn what_is_met_again_nearer_the_root_is_shown_to_the_full_depth() {
        let mut top = lineage("t.top", &[("x", "t.middle", "x")], None);
        top.columns[0].sources.push(DirectSource {
            source: ColumnRef::new("t.low", "x"),
            kind: SourceKind::Identity,
            expression: None,
        });
        let graph =
            graph(vec![top, lineage("t.middle", &[("x", "t.low", "x")], None), lineage("t.low", &[("x", "t.base", "x")], None)]);
        let tree = shown(&graph.tree("t.top.x".into(), Direction::Upstream, 2));
        assert_eq!(
            tree,
            ["t.top.x", "  t.middle.x direct", "    t.low.x direct cut off", "  t.low.x direct", "    t.base.x direct"]
        );
    }

    #[test]
    fn a_text_is_a_table_a_column_or_a_source() {
        assert_eq!(LineageItem::from("silver.posts"), LineageItem::table("silver.posts"));
        assert_eq!(LineageItem::from("silver.posts.user.name"), ColumnRef::new("silver.posts", "user.name").into());
        assert_eq!(LineageItem::from("file:data/a.b.csv"), LineageItem::table("file:data/a.b.csv"));
    }

    #[test]
    fn the_json_form_says_kind_and_directness() {
        let tree = medallion().tree("gold.daily.n".into(), Direction::Upstream, 1);
        let json = serde_json::to_value(&tree).unwrap();
        assert_eq!(json["dataset"], "gold.daily");
        assert_eq!(json["children"][0]["link"], serde_json::json!({"type": "DIRECT", "subtype": "IDENTITY"}));
    }
}
