//! What can be followed through which operator, and what is refused.

use super::*;

fn fact(id: i64, brand: &'static str, day: i64, product: i64) -> Fact {
    Fact { workspace: "acme", id, brand: Some(brand), day: Some(day), amount: Some(id % 7), product: Some(product) }
}

fn product(product: i64, name: &'static str) -> Product {
    Product { workspace: "acme", product: Some(product), name: Some(name), category: Some("x") }
}

fn state() -> State {
    let facts = (0..60).map(|id| fact(id, ["a", "b", "c", "d", "e"][id as usize % 5], id % 12, id % 4));
    State { facts: facts.collect(), products: ["n0", "n1", "n2", "n3"].iter().zip(0..).map(|(n, p)| product(p, n)).collect() }
}

/// One fact of brand `a` on day 0, of product 0, goes; one of brand `b` comes.
fn facts_change(state: &mut State) -> Difference {
    let gone = state.facts.remove(0);
    let added = fact(100, "b", 1, 0);
    state.facts.push(added.clone());
    Difference { facts: (vec![added], vec![gone]), ..Difference::default() }
}

/// Product 1 gets another name.
fn products_change(state: &mut State) -> Difference {
    let gone = std::mem::replace(&mut state.products[1], product(1, "new"));
    Difference { products: (vec![state.products[1].clone()], vec![gone]), ..Difference::default() }
}

async fn after(sql: &str, change: fn(&mut State) -> Difference) -> Done {
    let mut state = state();
    let before = session(&state, None);
    let mut stored = Stored::full(&before, &analysed(&before, sql).await).await;
    let difference = change(&mut state);
    let now = session(&state, None);
    let plan = analysed(&now, sql).await;
    let done = stored.refresh(&now, &plan, &changed(&difference, None)).await;
    if !matches!(done, Done::Refused(_)) {
        assert_eq!(lines(&stored.rows), lines(&Stored::full(&now, &plan).await.rows), "{sql}");
    }
    done
}

fn refreshed(columns: &[&str], groups: usize) -> Done {
    Done::Refreshed(columns.iter().map(ToString::to_string).collect(), groups)
}

#[tokio::test]
async fn only_the_groups_of_changed_rows_are_refreshed() {
    for (sql, columns, groups) in [
        ("SELECT brand, count(*) AS n FROM silver.facts GROUP BY brand", vec!["brand"], 2),
        ("SELECT brand, day / 2 AS half, sum(amount) AS s FROM silver.facts GROUP BY brand, day / 2", vec!["brand", "half"], 2),
        (
            "SELECT brand, count(DISTINCT product) AS n FROM silver.facts WHERE day > 0 GROUP BY brand HAVING count(*) > 1",
            vec!["brand"],
            1,
        ),
        ("SELECT DISTINCT brand FROM silver.facts", vec!["brand"], 2),
        ("SELECT id, brand FROM silver.facts WHERE brand <> 'a'", vec!["id", "brand"], 1),
        (
            "SELECT brand, n FROM (SELECT brand, id, row_number() OVER (PARTITION BY brand ORDER BY id) AS n FROM silver.facts) WHERE n = 1",
            vec!["brand"],
            2,
        ),
        (
            "SELECT p.name, count(*) AS n FROM silver.facts f JOIN silver.products p ON f.product = p.product GROUP BY p.name",
            vec!["name"],
            1,
        ),
        (
            "SELECT p.name, f.brand, count(*) AS n FROM silver.facts f LEFT JOIN silver.products p ON f.product = p.product GROUP BY p.name, f.brand",
            vec!["name", "brand"],
            2,
        ),
        (
            "SELECT p.name, f.n FROM silver.products p LEFT JOIN (SELECT product, count(*) AS n FROM silver.facts GROUP BY product) f ON f.product = p.product",
            vec!["name"],
            1,
        ),
        ("SELECT brand FROM silver.facts WHERE product IN (SELECT product FROM silver.products)", vec!["brand"], 2),
        (
            "SELECT brand, count(*) AS n FROM (SELECT brand FROM silver.facts UNION ALL SELECT name FROM silver.products) GROUP BY brand",
            vec!["brand"],
            2,
        ),
        ("SELECT brand FROM silver.facts INTERSECT SELECT name FROM silver.products", vec!["brand"], 2),
        (
            "WITH b AS (SELECT brand, day, count(*) AS n FROM silver.facts GROUP BY brand, day) SELECT brand, max(n) AS most FROM b GROUP BY brand",
            vec!["brand"],
            2,
        ),
        (
            "SELECT brand, tag, count(*) AS n FROM (SELECT brand, unnest(make_array(day, product)) AS tag FROM silver.facts) GROUP BY brand, tag",
            vec!["brand", "tag"],
            3,
        ),
    ] {
        assert_eq!(after(sql, facts_change).await, refreshed(&columns, groups), "{sql}");
    }
}

#[tokio::test]
async fn a_change_of_a_dimension_reaches_the_groups_of_the_facts_that_it_describes() {
    for (sql, columns, groups) in [
        (
            "SELECT p.name, count(*) AS n FROM silver.facts f JOIN silver.products p ON f.product = p.product GROUP BY p.name",
            vec!["name"],
            2,
        ),
        (
            "SELECT f.day, count(p.name) AS n FROM silver.facts f LEFT JOIN silver.products p ON f.product = p.product GROUP BY f.day",
            vec!["day"],
            3,
        ),
        ("SELECT brand FROM silver.facts EXCEPT SELECT name FROM silver.products", vec!["brand"], 0),
    ] {
        assert_eq!(after(sql, products_change).await, refreshed(&columns, groups), "{sql}");
    }
    let sql = "SELECT brand, count(*) AS n FROM silver.facts GROUP BY brand";
    assert_eq!(after(sql, products_change).await, Done::Nothing);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused() {
    for (sql, reason) in [
        ("SELECT count(*) AS n FROM silver.facts", "no column"),
        ("SELECT brand, day FROM silver.facts ORDER BY day LIMIT 3", "LIMIT"),
        ("SELECT brand, random() AS r FROM silver.facts", "random"),
        ("SELECT brand, count(*) FILTER (WHERE day < extract(year FROM now())) AS n FROM silver.facts GROUP BY brand", "now"),
        ("SELECT brand, row_number() OVER (ORDER BY id) AS n FROM silver.facts", "no column"),
        (
            "SELECT sum(day) OVER (PARTITION BY brand) AS s, sum(day) OVER (PARTITION BY product) AS t, brand FROM silver.facts",
            "no column",
        ),
        ("SELECT brand, count(*) AS n FROM silver.facts GROUP BY ROLLUP (brand)", "several sets"),
        ("SELECT brand FROM silver.facts WHERE day > (SELECT avg(day) FROM silver.facts)", "subquery"),
        (
            "SELECT name FROM silver.products p WHERE EXISTS (SELECT 1 FROM silver.facts f WHERE f.product = p.product)",
            "subquery",
        ),
        (
            "SELECT p.name FROM silver.products p JOIN (SELECT brand, count(*) AS n FROM silver.facts GROUP BY brand) f ON f.n = p.product",
            "computed",
        ),
        ("SELECT avg(day) AS mean, sum(amount) AS s FROM silver.facts GROUP BY brand", "no column"),
        (
            "SELECT CAST(brand AS VARCHAR) AS b, CAST(day AS DOUBLE) AS d FROM (SELECT max(brand) AS brand, CAST(day AS DOUBLE) AS day FROM silver.facts GROUP BY day)",
            "no column",
        ),
        (
            "WITH RECURSIVE r AS (SELECT 0 AS n UNION ALL SELECT r.n + 1 FROM r JOIN silver.facts f ON f.id = r.n) SELECT n FROM r",
            "recursive",
        ),
    ] {
        match after(sql, facts_change).await {
            Done::Refused(found) => assert!(found.contains(reason), "{sql}: {found}"),
            done => panic!("{sql}: {done:?}"),
        }
    }
}

#[tokio::test]
async fn the_condition_on_groups_reaches_the_scan() {
    let state = state();
    let session = session(&state, None);
    for sql in [
        "SELECT brand, count(*) AS n FROM silver.facts WHERE day > 1 GROUP BY brand",
        "SELECT upper(brand) AS up, sum(amount) AS s FROM (SELECT brand, amount FROM silver.facts) f GROUP BY upper(brand)",
        "SELECT * FROM (SELECT brand, id, row_number() OVER (PARTITION BY brand ORDER BY id) AS n FROM silver.facts) r WHERE n < 3",
        "SELECT f.brand, p.name, count(*) AS n FROM silver.facts f LEFT JOIN silver.products p ON f.product = p.product GROUP BY f.brand, p.name",
    ] {
        let plan = analysed(&session, sql).await;
        let difference = Difference { facts: (vec![fact(7, "a", 3, 1)], vec![]), ..Difference::default() };
        let witness = Witness::of(&plan, &changed(&difference, None)).unwrap().unwrap();
        let stored = stored_columns(&plan);
        let Collected::All(groups) = Groups::collect(&session.state(), &witness, &stored, 10, usize::MAX).await.unwrap() else {
            panic!()
        };
        let plan = session.state().optimize(&restricted(&plan, &stored, Some((&groups, Skipping::Nothing))).unwrap()).unwrap();
        let text = plan.display_indent().to_string();
        let lines: Vec<&str> = text.lines().collect();
        let scan = lines.iter().position(|l| l.contains("TableScan: silver.facts") || l.contains("TableScan: f")).unwrap();
        let above = |line: &&str| ["Aggregate:", "WindowAggr:", "Join:"].iter().any(|o| line.trim_start().contains(o));
        let operator = lines.iter().rposition(above).unwrap();
        assert!(lines[operator..=scan].iter().any(|l| l.contains("__lake_is_of_groups")), "{text}");
    }
}

#[tokio::test]
async fn too_many_groups_are_told_early() {
    let state = state();
    let session = session(&state, None);
    let plan = analysed(&session, "SELECT id, brand FROM silver.facts").await;
    let difference = Difference { facts: (state.facts.clone(), vec![]), ..Difference::default() };
    let witness = Witness::of(&plan, &changed(&difference, None)).unwrap().unwrap();
    let stored = stored_columns(&plan);
    assert!(matches!(Groups::collect(&session.state(), &witness, &stored, 10, usize::MAX).await.unwrap(), Collected::TooMany));
    assert!(matches!(Groups::collect(&session.state(), &witness, &stored, 1000, 100).await.unwrap(), Collected::TooMany));
}

#[tokio::test]
async fn queries_that_give_rows_of_nothing_are_not_run_for_many_workspaces() {
    let session = session(&state(), None);
    for (sql, reason) in [
        ("SELECT count(*) AS n FROM silver.facts", "without groups"),
        ("SELECT brand FROM silver.facts UNION ALL SELECT 'x'", "no workspace"),
        ("SELECT v.n, f.id FROM (VALUES (1)) v(n) LEFT JOIN silver.facts f ON f.id = v.n", "no workspace"),
        ("SELECT brand FROM silver.facts ORDER BY id LIMIT 1", "apart"),
        ("SELECT brand FROM silver.facts WHERE day > (SELECT avg(day) FROM silver.facts)", "subquery"),
        ("SELECT 1 AS one", "no table"),
    ] {
        match apart(&analysed(&session, sql).await) {
            Err(refusal) => assert!(refusal.reason().contains(reason), "{sql}: {refusal:?}"),
            Ok(plan) => panic!("{sql}: {}", plan.display_indent()),
        }
    }
}
