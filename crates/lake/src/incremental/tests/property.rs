//! Generated queries over generated changes.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::*;

const WORKSPACES: [&str; 3] = ["acme", "globex", "initech"];

/// Most rows are of one workspace, so that few of them meet many.
const OWNERS: [&str; 5] = ["acme", "acme", "acme", "globex", "initech"];
const BRANDS: [Option<&str>; 5] = [None, Some("a"), Some("b"), Some("c"), Some("A")];

fn small() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![1 => Just(None), 5 => (0i64..6).prop_map(Some)]
}

prop_compose! {
    fn fact()(
        workspace in select(&OWNERS[..]), id in 0i64..40, brand in select(&BRANDS[..]), day in small(), amount in small(), product in small(),
    ) -> Fact {
        Fact { workspace, id, brand, day, amount, product }
    }
}

prop_compose! {
    fn product()(
        workspace in select(&OWNERS[..]), product in small(), name in select(&BRANDS[..]), category in select(&BRANDS[..]),
    ) -> Product {
        Product { workspace, product, name, category }
    }
}

/// Rows to add, places of rows to take away, places of rows that are named though they stay.
type Batch<R> = (Vec<R>, Vec<prop::sample::Index>, Vec<prop::sample::Index>);

fn batch<R: std::fmt::Debug + Clone>(row: impl Strategy<Value = R>, most: usize) -> impl Strategy<Value = Batch<R>> {
    let places = || prop::collection::vec(any::<prop::sample::Index>(), 0..=most);
    (prop::collection::vec(row, 0..=most), places(), places())
}

/// Applies a batch to `rows`; gives what came and what went, with some rows in both that stayed, as in a file that was rewritten.
fn apply<R: Row>(rows: &mut Vec<R>, (added, removed, kept): &Batch<R>) -> (Vec<R>, Vec<R>) {
    let mut gone = vec![];
    for place in removed {
        if !rows.is_empty() {
            gone.push(rows.swap_remove(place.index(rows.len())));
        }
    }
    let same: Vec<R> = kept.iter().filter(|_| !rows.is_empty()).map(|place| rows[place.index(rows.len())].clone()).collect();
    rows.extend(added.iter().cloned());
    gone.extend(same.iter().cloned());
    (added.iter().cloned().chain(same).collect(), gone)
}

fn condition() -> impl Strategy<Value = String> + Clone {
    select(vec!["f.amount > 1", "f.brand IS NOT NULL", "f.day <= 4 OR f.day IS NULL", "f.brand = 'a'", "f.brand <> 'b'"])
        .prop_map(String::from)
        .boxed()
}

/// A relation with the columns id, brand, day, amount, name, category.
fn base() -> impl Strategy<Value = String> {
    let filter = prop::option::weighted(0.4, condition());
    let alone = filter.clone().prop_map(|filter| {
        let filter = filter.map(|f| format!(" WHERE {f}")).unwrap_or_default();
        format!("SELECT f.id, f.brand, f.day, f.amount, CAST(f.product AS VARCHAR) AS name, upper(f.brand) AS category FROM silver.facts f{filter}")
    });
    let kinds = select(vec!["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
    let on = select(vec![
        "f.product = p.product",
        "f.product = p.product AND p.category <> 'b'",
        "f.product = p.product AND f.brand = p.name",
        "f.brand = p.name",
        "f.product + 1 = p.product",
        "f.product IS NOT DISTINCT FROM p.product",
    ]);
    let joined = (kinds, on, filter.clone()).prop_map(|(kind, on, filter)| {
        let filter = filter.map(|f| format!(" WHERE {f}")).unwrap_or_default();
        format!("SELECT f.id, f.brand, f.day, f.amount, p.name, p.category FROM silver.facts f {kind} silver.products p ON {on}{filter}")
    });
    let counted = select(vec!["JOIN", "LEFT JOIN"]).prop_map(|kind| {
        format!("SELECT f.id, f.brand, f.day, f.amount, p.name, p.n AS category FROM silver.facts f {kind} (SELECT product, max(name) AS name, CAST(count(*) AS VARCHAR) AS n FROM silver.products GROUP BY product) p ON f.product = p.product")
    });
    let matched = select(vec![
        "f.product IN (SELECT product FROM silver.products)",
        "NOT EXISTS (SELECT 1 FROM silver.products p WHERE p.product = f.product)",
        "f.amount >= (SELECT max(product) FROM silver.products)",
    ]);
    let matched = matched.prop_map(|condition| {
        format!("SELECT f.id, f.brand, f.day, f.amount, CAST(f.product AS VARCHAR) AS name, f.brand AS category FROM silver.facts f WHERE {condition}")
    });
    let twice = filter.prop_map(|filter| {
        let filter = filter.map(|f| format!(" WHERE {f}")).unwrap_or_default();
        format!("SELECT f.id, f.brand, g.day, g.amount, g.brand AS name, f.brand AS category FROM silver.facts f JOIN silver.facts g ON f.product = g.day{filter}")
    });
    let one = prop_oneof![3 => alone, 5 => joined, 1 => counted, 1 => matched, 1 => twice];
    let one = one.boxed();
    prop_oneof![4 => one.clone(), 1 => (one.clone(), one).prop_map(|(a, b)| format!("{a} UNION ALL {b}"))]
}

fn keys(least: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(
        vec!["brand", "day", "name", "category", "day / 2", "upper(brand)", "coalesce(name, brand)"],
        least..=3,
    )
}

fn aggregates() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(
        vec![
            "count(*)",
            "count(amount)",
            "sum(amount)",
            "min(amount)",
            "max(name)",
            "avg(amount)",
            "count(DISTINCT brand)",
            "count(DISTINCT id)",
            "sum(amount) FILTER (WHERE day > 2)",
        ],
        1..=3,
    )
}

fn named_list(items: &[&str], prefix: &str) -> Vec<String> {
    items.iter().enumerate().map(|(i, item)| format!("{item} AS {prefix}{i}")).collect()
}

fn query() -> impl Strategy<Value = String> {
    let having = prop::option::weighted(0.4, select(vec!["count(*) > 1", "sum(amount) > 4", "max(amount) IS NULL"]));
    let aggregated = (base(), keys(0), aggregates(), having).prop_map(|(base, keys, aggregates, having)| {
        let items = [named_list(&keys, "k"), named_list(&aggregates, "v")].concat().join(", ");
        let groups = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
        let having = having.map(|h| format!(" HAVING {h}")).unwrap_or_default();
        format!("SELECT {items} FROM ({base}) b{groups}{having}")
    });
    let plain = base().prop_map(|base| {
        format!("SELECT id, brand, amount + 1 AS more, name, coalesce(category, '-') AS category FROM ({base}) b")
    });
    let partitions = select(vec!["brand", "brand, day", "name", "category, brand", "day"]);
    let ranked = (base(), partitions.clone(), 1..3i32).prop_map(|(base, partition, most)| {
        format!("SELECT * FROM (SELECT b.*, row_number() OVER (PARTITION BY {partition} ORDER BY amount, id, brand, day, name, category) AS place FROM ({base}) b) r WHERE place <= {most}")
    });
    let shares = (base(), partitions).prop_map(|(base, partition)| {
        format!("SELECT id, brand, day, amount, name, category, sum(amount) OVER (PARTITION BY {partition}) AS total, count(*) OVER (PARTITION BY brand) AS n FROM ({base}) b")
    });
    let distinct = (base(), keys(1))
        .prop_map(|(base, keys)| format!("SELECT DISTINCT {} FROM ({base}) b", named_list(&keys, "k").join(", ")));
    let nested = base().prop_map(|base| {
        format!("SELECT brand, max(n) AS most, count(*) AS days FROM (SELECT brand, day, count(*) AS n FROM ({base}) b GROUP BY brand, day) d GROUP BY brand HAVING max(n) > 0")
    });
    let met = (base(), base(), select(vec!["JOIN", "LEFT JOIN", "FULL JOIN"])).prop_map(|(one, other, kind)| {
        format!("SELECT x.brand, x.n, y.name, y.total FROM (SELECT brand, count(*) AS n FROM ({one}) b GROUP BY brand) x {kind} (SELECT name, sum(amount) AS total FROM ({other}) b GROUP BY name) y ON x.brand = y.name")
    });
    let sets = (base(), base(), select(vec!["INTERSECT", "EXCEPT", "UNION"]))
        .prop_map(|(one, other, set)| format!("SELECT brand FROM ({one}) b {set} SELECT name FROM ({other}) c"));
    let first = base().prop_map(|base| {
        format!("SELECT DISTINCT ON (brand) brand, day, amount, name FROM ({base}) b ORDER BY brand, day, amount, name")
    });
    let rolled = base().prop_map(|base| format!("SELECT brand, day, count(*) AS n FROM ({base}) b GROUP BY ROLLUP (brand, day)"));
    prop_oneof![
        8 => aggregated, 3 => plain, 3 => ranked, 2 => shares, 2 => distinct, 2 => nested, 2 => met, 2 => sets, 1 => first, 1 => rolled
    ]
}

#[derive(Debug, Clone)]
struct Case {
    sql: String,
    start: State,
    batches: Vec<(Batch<Fact>, Batch<Product>)>,
}

fn case() -> impl Strategy<Value = Case> {
    let start = (prop::collection::vec(fact(), 0..40), prop::collection::vec(product(), 0..14))
        .prop_map(|(facts, products)| State { facts, products });
    let batches = prop::collection::vec((batch(fact(), 2), batch(product(), 1)), 3);
    (query(), start, batches).prop_map(|(sql, start, batches)| Case { sql, start, batches })
}

fn cases() -> u32 {
    std::env::var("LAKE_PROPERTY_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150)
}

/// Runs `check` over generated cases; it says how many results were refreshed rather than computed anew.
fn over_cases(check: impl Fn(&tokio::runtime::Runtime, &Case) -> Result<usize, TestCaseError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refreshed = Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: cases(), failure_persistence: None, ..Config::default() });
    let done = runner.run(&case(), |case| {
        refreshed.set(refreshed.get() + check(&runtime, &case)?);
        Ok(())
    });
    if let Err(error) = done {
        panic!("{error}");
    }
    assert!(refreshed.get() > cases() as usize / 2, "only {} results were refreshed", refreshed.get());
}

#[test]
fn a_refreshed_result_is_the_one_computed_anew() {
    over_cases(|runtime, case| {
        runtime.block_on(async {
            let workspace = Some("acme");
            let mut state = case.start.clone();
            let before = session(&state, workspace);
            let mut stored = Stored::full(&before, &analysed(&before, &case.sql).await).await;
            let mut refreshed = 0;
            for (facts, products) in &case.batches {
                let difference =
                    Difference { facts: apply(&mut state.facts, facts), products: apply(&mut state.products, products) };
                let now = session(&state, workspace);
                let plan = analysed(&now, &case.sql).await;
                let full = Stored::full(&now, &plan).await;
                match stored.refresh(&now, &plan, &changed(&difference, workspace)).await {
                    Done::Refused(_) => stored = full,
                    done => {
                        refreshed += usize::from(matches!(done, Done::Refreshed(..)));
                        prop_assert_eq!(lines(&stored.rows), lines(&full.rows), "{:?}", done);
                    }
                }
            }
            Ok(refreshed)
        })
    });
}

#[test]
fn one_query_for_all_workspaces_is_one_for_each() {
    over_cases(|runtime, case| {
        runtime.block_on(async {
            let mut state = case.start.clone();
            let all = session(&state, None);
            let Ok(plan) = apart(&analysed(&all, &case.sql).await) else { return Ok(1) };
            let mut stored = Stored::full(&all, &plan).await;
            let mut refreshed = 0;
            for (facts, products) in &case.batches {
                let difference =
                    Difference { facts: apply(&mut state.facts, facts), products: apply(&mut state.products, products) };
                let now = session(&state, None);
                let plan = apart(&analysed(&now, &case.sql).await).unwrap();
                let full = Stored::full(&now, &plan).await;
                let done = stored.refresh(&now, &plan, &changed(&difference, None)).await;
                refreshed += usize::from(matches!(done, Done::Refreshed(..)));
                if matches!(done, Done::Refused(_)) {
                    stored = full;
                }
                let mut expected = vec![];
                for workspace in WORKSPACES {
                    let own = session(&state, Some(workspace));
                    let rows = Stored::full(&own, &analysed(&own, &case.sql).await).await.rows;
                    expected.extend(lines(&rows).into_iter().map(|line| format!("{line} | {workspace}")));
                }
                expected.sort_unstable();
                prop_assert_eq!(lines(&stored.rows), expected, "{:?}", done);
            }
            Ok(refreshed)
        })
    });
}
