//! No text makes the reader or the compiler panic, and every finding lies on characters of its text.

use lake::diagnostic::Diagnostic;
use lake::pipeline::{Pipeline, json_schema};
use proptest::prelude::*;

use crate::support::check;

const WHOLE: &str = include_str!("right.yaml");

/// Pieces that bend YAML and SQL in ways that single characters do not.
const PIECES: [&str; 40] = [
    "${", "}", "${X}", "${X:-", "$${", "'", "\"", "\\", "\\u12", "|", ">-", "- ", ": ", "? ", "{", "}", "[", "]", ",", "&a ",
    "*a", "!!int ", "---\n", "...\n", "\t", "\r\n", "#", " #x", "ß", "日本", "\u{feff}", "\u{85}", "(", ")", "*", "SELECT ",
    " OVER ()", "::int", " AS x", "/* ",
];

fn hold(found: &[Diagnostic]) {
    for diagnostic in found {
        assert!(diagnostic.source.text.get(diagnostic.span.range()).is_some(), "{diagnostic:?}");
        assert!(!diagnostic.message.is_empty() && !diagnostic.message.ends_with('.'), "{diagnostic:?}");
        let (line, column) = diagnostic.position();
        assert!(line > 0 && column > 0);
    }
}

fn run(text: &str) {
    if let Err(found) = check("p.yaml", text) {
        assert!(!found.is_empty());
        hold(&found);
    }
}

/// An edit of a text: where, how much goes, and what comes.
fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, usize, String)>> {
    let piece = prop_oneof![
        prop::sample::select(PIECES.as_slice()).prop_map(str::to_owned),
        "\\PC{0,4}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, piece), 1..4)
}

fn edited(text: &str, edits: &[(prop::sample::Index, usize, String)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, gone, piece) in edits {
        let at = at.index(chars.len() + 1);
        let end = (at + gone).min(chars.len());
        chars.splice(at..end, piece.chars());
    }
    chars.into_iter().collect()
}

fn sql(expression: &str) -> String {
    let quoted = expression.replace('\'', "''");
    format!(
        "name: p\nbronze:\n  posts: {{ method: m }}\nsilver:\n  s: {{ from: bronze.posts, select: {{ a: '{quoted}' }} }}\ngold:\n  g: {{ sql: 'SELECT {quoted} FROM bronze.posts' }}\n"
    )
}

/// Expressions that parse, most of which do not fit.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "id",
        "body",
        "user",
        "tags",
        "user.name",
        "tags[1]",
        "camelCase",
        "_ingested_at",
        "_source_row",
        "1",
        "-1",
        "1.5",
        "'x'",
        "NULL",
        "true",
        "''",
        "'2026-01-01'",
        "DATE '2026-01-01'",
        "9223372036854775807",
        "1e400",
        "interval '1 day'",
        "current_date",
        "now()",
        "ARRAY[1, 2]",
        "count(*)",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let function = prop::sample::select(vec![
            "upper",
            "length",
            "coalesce",
            "to_timestamp",
            "struct",
            "make_array",
            "named_struct",
            "array_element",
            "get_field",
            "date_trunc",
            "nullif",
            "substr",
            "concat",
            "round",
            "power",
            "regexp_replace",
            "split_part",
            "array_to_string",
            "map",
            "make_map",
            "unnest",
            "sum",
            "arrow_cast",
            "arrow_typeof",
            "date_bin",
            "to_char",
            "lpad",
            "repeat",
            "factorial",
            "digest",
            "encode",
            "array_agg",
            "flatten",
            "cardinality",
            "extract",
            "first_value",
            "lag",
            "ntile",
            "grouping",
            "nth_value",
            "string_to_array",
            "generate_series",
            "range",
            "array_resize",
            "trunc",
            "greatest",
        ]);
        let operator = prop::sample::select(vec![
            "+",
            "-",
            "*",
            "/",
            "%",
            "||",
            "=",
            "<>",
            "<",
            "AND",
            "OR",
            "LIKE",
            "~",
            "IS DISTINCT FROM",
            "&",
            ">>",
        ]);
        let data_type = prop::sample::select(vec![
            "VARCHAR",
            "INT",
            "BIGINT",
            "DOUBLE",
            "TIMESTAMP",
            "DATE",
            "BOOLEAN",
            "DECIMAL(10, 2)",
            "DECIMAL(99, 2)",
            "INTERVAL",
            "BYTEA",
            "INT[]",
        ]);
        prop_oneof![
            (function, prop::collection::vec(inner.clone(), 0..4)).prop_map(|(f, args)| format!("{f}({})", args.join(", "))),
            (inner.clone(), operator, inner.clone()).prop_map(|(l, op, r)| format!("({l} {op} {r})")),
            (inner.clone(), data_type).prop_map(|(e, t)| format!("CAST({e} AS {t})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("CASE WHEN {a} THEN {b} ELSE {c} END")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} IN ({b}, 1)")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("sum({a}) OVER (PARTITION BY {b} ORDER BY id)")),
            inner.clone().prop_map(|e| format!("NOT {e}")),
            inner.clone().prop_map(|e| format!("EXTRACT(year FROM {e})")),
            inner.clone().prop_map(|e| format!("(SELECT max({e}) FROM bronze.posts)")),
            inner.prop_map(|e| format!("{e} IS NULL")),
        ]
    })
}

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,60}|(\\PC|[\\n\\t: {}\\[\\]'\"#&*!|>%@`,-]){0,80}") {
        run(&text);
    }
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn a_mutilated_pipeline_is_compiled_without_a_panic(edits in edits()) {
        run(&edited(WHOLE, &edits));
    }

    #[test]
    fn any_expression_is_planned_without_a_panic(expression in expression()) {
        run(&sql(&expression));
    }

    #[test]
    fn mutilated_sql_is_compiled_without_a_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "body", "user", "tags", "id", "user.name", "tags[1]", "1", "'x'", "NULL", "(", ")", "+", "-", "||", "=", "<", "AND", "OR", "NOT",
            "IS NULL", "IN", "LIKE", "BETWEEN", "CASE WHEN", "THEN", "ELSE", "END", "upper(", "coalesce(", "to_timestamp(", "struct(",
            "make_array(", "named_struct(", "array_element(", "get_field(", "date_trunc('day',", "interval '1 day'", "::int", "::timestamp",
            "CAST(", "AS VARCHAR)", ",", "*", ".", "[", "]", "{", "}", "count(*)", "sum(", "OVER ()", "SELECT", "FROM", "$1", "@x", "->", "x ->",
            "EXTRACT(year FROM", "substring(", "trim(", "DISTINCT", "unnest(", "map(", "!", "~", "^", "%", "DATE '2020-01-01'", "ARRAY[", "AT TIME ZONE 'x'",
        ]), 1..10)
    ) {
        run(&sql(&words.join(" ")));
    }
}

#[test]
fn a_long_chain_of_operators_does_not_exhaust_the_stack() {
    run(&sql(&format!("id{}", " || id".repeat(190))));
    run(&sql(&format!("id{}", " || id".repeat(1_900))));
    run(&sql(&format!("id{}", " || id".repeat(20_000))));
}

#[test]
fn a_long_chain_of_conditions_does_not_exhaust_the_stack() {
    run(&sql(&format!("({}true)", "id = 'x' OR ".repeat(190))));
    run(&sql(&format!("({}true)", "id = 'x' OR ".repeat(20_000))));
}

#[test]
fn a_long_chain_of_suffixes_does_not_exhaust_the_stack() {
    run(&sql(&format!("id{}", " IS NULL".repeat(190))));
    run(&sql(&format!("id{}", "::text".repeat(190))));
}

#[test]
fn a_long_chain_of_queries_does_not_exhaust_the_stack() {
    let unions = |count: usize| " UNION ALL SELECT id FROM bronze.posts".repeat(count);
    run(&sql(&format!("id FROM bronze.posts{} UNION ALL SELECT id", unions(99))));
    run(&sql(&format!("id FROM bronze.posts{} UNION ALL SELECT id", unions(20_000))));
}

#[test]
fn the_example_of_these_tests_is_right() {
    assert!(check("right.yaml", WHOLE).is_ok());
    assert!(Pipeline::parse("right.yaml", WHOLE, &|_| None).is_err());
    assert!(json_schema().is_object());
}
