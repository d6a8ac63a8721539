//! Progress of a run on stderr: moving bars on a terminal, else one line when a table is done.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use lake::report::{TableReport, TableStatus};

use crate::backend::Observer;
use crate::printer::Printer;
use crate::quantity::{bytes, counted, rough, seconds};

/// How often a bar looks at its numbers.
const TICK: Duration = Duration::from_millis(120);

/// The bar of a table whose input has a known size, and of one whose input has not. Both fit 80 characters.
const MEASURED: &str = "{prefix:20!} {bar:12} {percent:>3}%  {figures}";
const UNMEASURED: &str = "{prefix:20!} {spinner}  {figures}";

/// The observer that suits where stderr goes.
pub(crate) fn observer(printer: &Arc<Printer>) -> Arc<dyn Observer> {
    if printer.draws_progress() {
        printer.show_bars();
        Arc::new(Bars { printer: printer.clone(), meters: RwLock::default() })
    } else {
        Arc::new(Lines { printer: printer.clone() })
    }
}

/// One line a table.
#[derive(Debug)]
struct Lines {
    printer: Arc<Printer>,
}

impl Observer for Lines {
    fn started(&self, _table: &str, _bytes: Option<u64>) {}

    fn advanced(&self, _table: &str, _rows: u64, _bytes: u64) {}

    fn finished(&self, report: &TableReport) {
        self.printer.say(&finished_line(report));
    }
}

/// `silver.posts: written, 1,234 rows in 0.42 s`.
fn finished_line(report: &TableReport) -> String {
    let table = &report.table;
    match report.status {
        TableStatus::Written => {
            let rows = counted(report.rows_written, "row", "rows");
            format!("{table}: written, {rows} in {}", seconds(report.seconds))
        }
        TableStatus::Unchanged => format!("{table}: unchanged"),
        TableStatus::Failed => format!("{table}: failed after {}", seconds(report.seconds)),
        TableStatus::Skipped => format!("{table}: skipped"),
    }
}

/// A moving bar a table. The threads that do the work only add to atomic numbers; drawing is done by the bars' own ticks.
#[derive(Debug)]
struct Bars {
    printer: Arc<Printer>,
    meters: RwLock<HashMap<String, Meter>>,
}

#[derive(Debug)]
struct Meter {
    bar: ProgressBar,
    read: Arc<Read>,
}

/// What a table's job has read so far.
#[derive(Debug)]
struct Read {
    since: Instant,
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Observer for Bars {
    fn started(&self, table: &str, bytes: Option<u64>) {
        let read = Arc::new(Read { since: Instant::now(), rows: AtomicU64::new(0), bytes: AtomicU64::new(0) });
        let bar = match bytes.filter(|b| *b > 0) {
            Some(bytes) => ProgressBar::new(bytes),
            None => ProgressBar::no_length(),
        };
        let bar = self.printer.bars().add(bar.with_style(style(&read, bytes.is_some_and(|b| b > 0))));
        bar.set_prefix(table.to_owned());
        bar.enable_steady_tick(TICK);
        let before = self.meters.write().unwrap_or_else(PoisonError::into_inner).insert(table.to_owned(), Meter { bar, read });
        // A job that starts anew after a conflict begins to count anew.
        if let Some(before) = before {
            before.bar.finish_and_clear();
        }
    }

    fn advanced(&self, table: &str, rows: u64, bytes: u64) {
        if let Some(meter) = self.meters.read().unwrap_or_else(PoisonError::into_inner).get(table) {
            meter.read.rows.fetch_add(rows, Ordering::Relaxed);
            meter.read.bytes.fetch_add(bytes, Ordering::Relaxed);
            meter.bar.inc(bytes);
        }
    }

    fn finished(&self, report: &TableReport) {
        let meter = self.meters.write().unwrap_or_else(PoisonError::into_inner).remove(&report.table);
        if let Some(meter) = meter {
            meter.bar.finish_and_clear();
            self.printer.bars().remove(&meter.bar);
        }
    }
}

fn style(read: &Arc<Read>, measured: bool) -> ProgressStyle {
    let read = read.clone();
    let template = if measured { MEASURED } else { UNMEASURED };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─").with_key(
        "figures",
        move |_: &ProgressState, line: &mut dyn fmt::Write| {
            // Writing to the line of a bar cannot fail.
            let _ = line.write_str(&read.figures(read.since.elapsed()));
        },
    )
}

impl Read {
    /// `1,234,567 rows  812.3k/s  120.0 MiB/s`.
    fn figures(&self, elapsed: Duration) -> String {
        let per_second = |number: u64| {
            let millis = elapsed.as_millis().max(1);
            u64::try_from(u128::from(number) * 1000 / millis).unwrap_or(u64::MAX)
        };
        let (rows, read) = (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        let mut text = counted(rows, "row", "rows");
        let _ = write!(text, "  {}/s", rough(per_second(rows)));
        if read > 0 {
            let _ = write!(text, "  {}/s", bytes(per_second(read)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::OutputForm;
    use crate::printer::Surface;

    fn report(table: &str, status: TableStatus, rows: u64) -> TableReport {
        TableReport { status, rows_written: rows, seconds: 0.42, ..TableReport::new(table) }
    }

    #[test]
    fn without_a_terminal_each_table_gets_one_line_when_it_is_done() {
        let (printer, captured) = Printer::captured(OutputForm::Human, Surface::default());
        let observer = observer(&printer);
        observer.started("bronze.posts", Some(10));
        observer.advanced("bronze.posts", 5, 10);
        assert_eq!(captured.stderr(), "");
        observer.finished(&report("bronze.posts", TableStatus::Written, 12_345));
        observer.finished(&report("silver.posts", TableStatus::Unchanged, 0));
        observer.finished(&report("gold.daily", TableStatus::Failed, 0));
        observer.finished(&report("gold.mix", TableStatus::Skipped, 0));
        insta::assert_snapshot!(captured.stderr(), @r#"
        bronze.posts: written, 12,345 rows in 0.42 s
        silver.posts: unchanged
        gold.daily: failed after 0.42 s
        gold.mix: skipped
        "#);
        assert_eq!(captured.stdout(), "");
    }

    #[test]
    fn quiet_runs_say_nothing() {
        let (printer, captured) = Printer::captured(OutputForm::Human, Surface::default());
        let printer = Printer::quietly(printer);
        observer(&printer).finished(&report("bronze.posts", TableStatus::Written, 1));
        assert_eq!(captured.stderr(), "");
    }

    #[test]
    fn what_many_threads_read_adds_up() {
        let (printer, _) = Printer::captured(OutputForm::Human, Surface::default());
        let bars = Bars { printer, meters: RwLock::default() };
        bars.started("silver.posts", Some(8_000));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1_000).for_each(|_| bars.advanced("silver.posts", 2, 1)));
            }
        });
        let read = bars.meters.read().unwrap()["silver.posts"].read.clone();
        assert_eq!((read.rows.load(Ordering::Relaxed), read.bytes.load(Ordering::Relaxed)), (16_000, 8_000));
        assert_eq!(bars.meters.read().unwrap()["silver.posts"].bar.position(), 8_000);
        bars.finished(&report("silver.posts", TableStatus::Written, 1));
        assert!(bars.meters.read().unwrap().is_empty());
        bars.advanced("silver.posts", 1, 1);
    }

    #[test]
    fn rates_are_of_the_time_since_the_start() {
        let read = Read { since: Instant::now(), rows: AtomicU64::new(3_000_000), bytes: AtomicU64::new(4 << 20) };
        assert_eq!(read.figures(Duration::from_secs(2)), "3,000,000 rows  1.5M/s  2.0 MiB/s");
        assert!(read.figures(Duration::ZERO).contains("3.0G/s"));
    }

    #[test]
    fn the_bars_can_be_drawn() {
        for template in [MEASURED, UNMEASURED] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
