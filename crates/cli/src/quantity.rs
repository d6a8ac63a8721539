//! Numbers as people read them: counts, bytes, durations, times.

use std::time::Duration;

use chrono::{DateTime, Utc};

const BYTE_UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`: the count and the word that fits it.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `950`, `812.3k`, `1.5M`: a number that need not be exact.
pub(crate) fn rough(number: u64) -> String {
    let (unit, name) = match number {
        0..1_000 => return number.to_string(),
        1_000..1_000_000 => (1_000, "k"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "G"),
    };
    format!("{}.{}{name}", number / unit, number % unit * 10 / unit)
}

/// `512 B`, `1.2 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut amount = number as f64;
    let mut unit = 0;
    while amount >= 1023.95 && unit + 1 < BYTE_UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let name = BYTE_UNITS.get(unit).unwrap_or(&"B");
    if unit == 0 { format!("{number} B") } else { format!("{amount:.1} {name}") }
}

/// `0.04 s`, `12.3 s`, `3 min 05 s`, `2 h 10 min`.
pub(crate) fn seconds(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
    let whole = duration.as_secs();
    match whole {
        0..10 => format!("{:.2} s", duration.as_secs_f64()),
        10..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `just now`, `5 min ago`, `3 days ago`, and the day for what is longer ago than two months.
pub(crate) fn ago(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let passed = now - time;
    let (number, one, many) = match (passed.num_minutes(), passed.num_hours(), passed.num_days()) {
        (..1, ..) => return "just now".to_owned(),
        (minutes, 0, _) => (minutes, "min", "min"),
        (_, hours @ ..48, _) => (hours, "h", "h"),
        (.., days @ ..61) => (days, "day", "days"),
        _ => return time.format("%Y-%m-%d").to_string(),
    };
    format!("{number} {} ago", if number == 1 { one } else { many })
}

/// `4.2 %`, and `<0.1 %` rather than a zero that is none.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let share = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    if part > 0 && share < 0.1 { "<0.1 %".to_owned() } else { format!("{share:.1} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1, "row", "rows"), "1 row");
        assert_eq!(counted(0, "row", "rows"), "0 rows");
    }

    #[test]
    fn rough_numbers_are_short() {
        assert_eq!([0, 999, 1_000, 812_399, 1_500_000, 3_000_000_000].map(rough), ["0", "999", "1.0k", "812.3k", "1.5M", "3.0G"]);
    }

    #[test]
    fn bytes_change_unit_before_they_reach_four_digits() {
        assert_eq!([0, 1023, 1024, 1_048_575, 1 << 20].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.0 MiB"]);
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn durations_are_as_exact_as_they_need_to_be() {
        assert_eq!(
            [0.004, 9.999, 12.34, 185.0, 7_800.0].map(seconds),
            ["0.00 s", "10.00 s", "12.3 s", "3 min 05 s", "2 h 10 min"]
        );
        assert_eq!(seconds(f64::NAN), "0.00 s");
    }

    #[test]
    fn times_are_told_by_how_long_ago_they_were() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let told = |seconds| ago(now - chrono::TimeDelta::seconds(seconds), now);
        assert_eq!([-5, 59, 60, 3_599].map(told), ["just now", "just now", "1 min ago", "59 min ago"]);
        assert_eq!([3_600, 172_799, 172_800].map(told), ["1 h ago", "47 h ago", "2 days ago"]);
        assert_eq!(told(61 * 86_400), "2026-11-15");
    }

    #[test]
    fn a_small_share_is_not_shown_as_none() {
        assert_eq!([percent(1, 100_000), percent(42, 1_000), percent(0, 0)], ["<0.1 %", "4.2 %", "0.0 %"]);
    }
}
