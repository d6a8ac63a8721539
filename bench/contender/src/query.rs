//! Queries of a service that embeds the library.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Instant;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use lake::Lake;
use lake::table::{At, Scope};
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{Outcome, Result};

/// How often the scan is made.
const SCANS: usize = 3;

/// The stack of a worker, as in the `lake` binary: plans are walked recursively.
const STACK_BYTES: usize = 8 << 20;

/// A point query of `queries.json`.
#[derive(Deserialize)]
struct Point {
    workspace_id: String,
    order_date: String,
}

/// One line of the scan's answer.
#[derive(Default)]
struct Totals {
    lines: i64,
    quantity: i64,
    /// In ten-thousandths.
    revenue: i128,
}

/// Asks all queries.
pub(crate) fn query(raw: &Path, out: &Path) -> Result<Outcome> {
    let clock = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
    let lake = Lake::builder().uri(out.to_string_lossy()).build()?;
    let points: Vec<Point> = serde_json::from_slice(&fs::read(raw.join("queries.json"))?)?;
    let mut outcome = Outcome::default();
    outcome.step("start", clock.elapsed().as_secs_f64());
    runtime.block_on(async {
        ask_points(&lake, &points, &mut outcome).await?;
        ask_scans(&lake, &mut outcome).await
    })?;
    Ok(outcome)
}

/// Each query opens the table at its latest version, as all queries of a workspace do.
async fn ask_points(lake: &Lake, points: &[Point], outcome: &mut Outcome) -> Result<()> {
    let (mut seconds, mut answers) = (vec![], vec![]);
    for point in points {
        let clock = Instant::now();
        let batches = lake
            .workspace(&point.workspace_id)?
            .collect(&format!(
                "SELECT sum(lines), CAST(sum(revenue) AS DECIMAL(38, 4)) FROM gold.daily_revenue WHERE order_date = DATE '{}'",
                point.order_date
            ))
            .await?;
        seconds.push(clock.elapsed().as_secs_f64());
        let batch = batches.iter().find(|batch| batch.num_rows() > 0).ok_or("a sum without a row")?;
        answers.push(json!([integer(batch, 0, 0), decimal_text(decimal(batch, 1, 0))]));
    }
    let first = seconds.first().copied().unwrap_or_default();
    seconds.sort_by(f64::total_cmp);
    outcome.step("point_first", first);
    outcome.step("point_median", seconds.get(seconds.len() / 2).copied().unwrap_or_default());
    outcome.answer("point", json!(answers));
    Ok(())
}

async fn ask_scans(lake: &Lake, outcome: &mut Outcome) -> Result<()> {
    let (mut seconds, mut totals) = (vec![], BTreeMap::new());
    for _ in 0..SCANS {
        let clock = Instant::now();
        totals = scan(lake).await?;
        seconds.push(clock.elapsed().as_secs_f64());
    }
    outcome.step("scan_first", seconds.first().copied().unwrap_or_default());
    outcome.step("scan_best", seconds.iter().copied().fold(f64::INFINITY, f64::min));
    let line = |(mode, totals): (&String, &Totals)| {
        json!([mode, totals.lines.to_string(), totals.quantity.to_string(), decimal_text(totals.revenue)])
    };
    outcome.answer("scan", totals.iter().map(line).collect());
    Ok(())
}

/// Rows are read through a workspace only, so each workspace is asked, all at once, and the answers are added up.
async fn scan(lake: &Lake) -> Result<BTreeMap<String, Totals>> {
    let table = lake.snapshot(&"silver.order_lines".parse()?, At::Latest).await?.ok_or("there is no `silver.order_lines`")?;
    let workspaces: BTreeSet<String> = table.files(&Scope::Feed)?.into_iter().filter_map(|file| file.workspace).collect();
    let mut totals: BTreeMap<String, Totals> = BTreeMap::new();
    let mut asked = JoinSet::new();
    for workspace in workspaces {
        let workspace = lake.workspace(&workspace)?;
        asked.spawn(async move {
            workspace
                .collect(
                    "SELECT ship_mode, count(*), sum(quantity), CAST(sum(price * (1 - discount)) AS DECIMAL(38, 4)) \
                     FROM silver.order_lines GROUP BY ship_mode",
                )
                .await
        });
    }
    while let Some(batches) = asked.join_next().await {
        for batch in &batches?? {
            let modes = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
            for row in 0..batch.num_rows() {
                let total = totals.entry(modes.as_string::<i32>().value(row).to_owned()).or_default();
                total.lines += integer(batch, 1, row);
                total.quantity += integer(batch, 2, row);
                total.revenue += decimal(batch, 3, row);
            }
        }
    }
    Ok(totals)
}

/// The number in a column of whole numbers; 0 where it is null, as the sum of no rows is.
fn integer(batch: &RecordBatch, column: usize, row: usize) -> i64 {
    let values = batch.column(column).as_primitive::<Int64Type>();
    if values.is_null(row) { 0 } else { values.value(row) }
}

/// The number in a column of four decimals, in ten-thousandths.
fn decimal(batch: &RecordBatch, column: usize, row: usize) -> i128 {
    let values = batch.column(column).as_primitive::<Decimal128Type>();
    if values.is_null(row) { 0 } else { values.value(row) }
}

/// Ten-thousandths as text with four decimals.
fn decimal_text(value: i128) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    format!("{sign}{}.{:04}", value / 10_000, value % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_four_places() {
        assert_eq!(decimal_text(0), "0.0000");
        assert_eq!(decimal_text(1_234_500), "123.4500");
        assert_eq!(decimal_text(-5), "-0.0005");
        assert_eq!(decimal_text(i128::from(i64::MAX) * 10_000), "9223372036854775807.0000");
    }
}
