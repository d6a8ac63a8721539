//! Random chains of CTEs against a model that knows nothing of plans.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{plan, plan_lineage, session};
use crate::lineage::model::{IndirectKind, SourceKind};

/// The columns that the chain starts with.
const BASE: [&str; 3] = ["post_id", "author", "brand"];

/// An output column in terms of the columns of the step before, picked by position.
#[derive(Debug, Clone)]
enum Item {
    Column(usize),
    Literal,
    Concat(usize, usize),
    Choose { condition: usize, result: usize },
    Largest(usize),
}

#[derive(Debug, Clone)]
struct Step {
    items: Vec<Item>,
    filter: Option<usize>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Expected {
    sources: BTreeMap<&'static str, SourceKind>,
    conditions: BTreeSet<&'static str>,
}

fn item() -> impl Strategy<Value = Item> {
    let any = || 0..100_usize;
    prop_oneof![
        any().prop_map(Item::Column),
        Just(Item::Literal),
        (any(), any()).prop_map(|(left, right)| Item::Concat(left, right)),
        (any(), any()).prop_map(|(condition, result)| Item::Choose { condition, result }),
        any().prop_map(Item::Largest),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (vec(item(), 1..4), proptest::option::of(0..100_usize)).prop_map(|(items, filter)| Step { items, filter })
}

fn to_sql(item: &Item, width: usize) -> String {
    let name = |column: &usize| format!("x{}", column % width);
    match item {
        Item::Column(column) => name(column),
        Item::Literal => "'x'".to_owned(),
        Item::Concat(left, right) => format!("concat({}, {})", name(left), name(right)),
        Item::Choose { condition, result } => format!("CASE WHEN {} = 'a' THEN {} END", name(condition), name(result)),
        Item::Largest(column) => format!("max({}) OVER ()", name(column)),
    }
}

fn expected(item: &Item, before: &[Expected]) -> Expected {
    let column = |position: &usize| before[position % before.len()].clone();
    let at_least = |kind: SourceKind, origin: Expected| Expected {
        sources: origin.sources.into_iter().map(|(name, known)| (name, known.max(kind))).collect(),
        conditions: origin.conditions,
    };
    match item {
        Item::Column(position) => column(position),
        Item::Literal => Expected::default(),
        Item::Concat(left, right) => {
            let mut both = at_least(SourceKind::Transformation, column(left));
            let right = at_least(SourceKind::Transformation, column(right));
            for (name, kind) in right.sources {
                let known = both.sources.entry(name).or_insert(kind);
                *known = (*known).max(kind);
            }
            both.conditions.extend(right.conditions);
            both
        }
        Item::Choose { condition, result } => {
            let mut chosen = at_least(SourceKind::Transformation, column(result));
            let condition = column(condition);
            chosen.conditions.extend(condition.sources.into_keys());
            chosen.conditions.extend(condition.conditions);
            chosen
        }
        Item::Largest(position) => at_least(SourceKind::Aggregation, column(position)),
    }
}

/// The SQL of the chain, the expected origin of each of its columns, and the columns that filter.
fn chain(steps: &[Step]) -> (String, Vec<Expected>, BTreeSet<&'static str>) {
    let base =
        |name: &&'static str| Expected { sources: BTreeMap::from([(*name, SourceKind::Identity)]), conditions: BTreeSet::new() };
    let mut known: Vec<Expected> = BASE.iter().map(base).collect();
    let (mut filters, mut conditions) = (BTreeSet::<&str>::new(), BTreeSet::<&str>::new());
    let mut sql = format!("WITH c0(x0, x1, x2) AS (SELECT {} FROM silver.posts)", BASE.join(", "));
    for (index, step) in steps.iter().enumerate() {
        let items: Vec<String> = step
            .items
            .iter()
            .enumerate()
            .map(|(position, item)| format!("{} AS x{position}", to_sql(item, known.len())))
            .collect();
        sql += &format!(", c{} AS (SELECT {} FROM c{index}", index + 1, items.join(", "));
        if let Some(filter) = step.filter {
            let column = &known[filter % known.len()];
            sql += &format!(" WHERE x{} <> ''", filter % known.len());
            filters.extend(column.sources.keys());
            conditions.extend(column.conditions.iter());
        }
        sql += ")";
        known = step.items.iter().map(|item| expected(item, &known)).collect();
    }
    // What decided on a filter decides on every row, and so on every column.
    for column in &mut known {
        column.conditions.extend(conditions.iter());
    }
    (format!("{sql} SELECT * FROM c{}", steps.len()), known, filters)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_chain_has_the_lineage_of_the_model(steps in vec(step(), 1..6)) {
        let (sql, known, filters) = chain(&steps);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lineage = runtime.block_on(async { plan_lineage("gold.out", &plan(&session(), &sql).await) });

        prop_assert_eq!(lineage.columns.len(), known.len());
        for (column, expected) in lineage.columns.iter().zip(&known) {
            let actual: BTreeMap<&str, SourceKind> =
                column.sources.iter().map(|direct| (direct.source.column.as_str(), direct.kind)).collect();
            prop_assert_eq!(&actual, &expected.sources, "{} of {}", column.column, sql);
        }
        let of_kind = |kind: IndirectKind| -> BTreeSet<&str> {
            let indirect = lineage.indirect.iter().filter(|indirect| indirect.kind == kind);
            indirect.map(|indirect| indirect.source.column.as_str()).collect()
        };
        let conditions: BTreeSet<&str> = known.iter().flat_map(|column| column.conditions.iter().copied()).collect();
        prop_assert_eq!(of_kind(IndirectKind::Conditional), conditions, "{}", sql);
        prop_assert_eq!(of_kind(IndirectKind::Filter), filters.into_iter().collect::<BTreeSet<&str>>(), "{}", sql);
    }
}
