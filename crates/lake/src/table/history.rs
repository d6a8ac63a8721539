//! Versions of a table: which one to read, and what each was.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::table::commit::delta_error;
use crate::table::snapshot::Snapshot;

/// Which version of a table to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum At {
    /// The newest.
    #[default]
    Latest,
    /// This version.
    Version(i64),
    /// The newest at this time.
    Time(DateTime<Utc>),
}

impl std::str::FromStr for At {
    type Err = Error;

    /// `12` is a version; `2026-01-31`, `2026-01-31T12:00:00Z` and `2026-01-31 12:00:00` are times (UTC unless they say otherwise).
    fn from_str(text: &str) -> Result<Self> {
        if let Ok(version) = text.parse::<i64>() {
            return Ok(At::Version(version));
        }
        let naive = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
            .iter()
            .find_map(|f| chrono::NaiveDateTime::parse_from_str(text, f).ok())
            .or_else(|| chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|d| d.and_hms_opt(0, 0, 0)));
        DateTime::parse_from_rfc3339(text)
            .map(|t| t.with_timezone(&Utc))
            .ok()
            .or_else(|| naive.map(|n| n.and_utc()))
            .map(At::Time)
            .ok_or_else(|| {
                Error::new(ErrorKind::Config, format!("`{text}` is neither a version nor a time"))
                    .with_hint("write a version such as `3` or a time such as `2026-01-31T12:00:00Z`")
            })
    }
}

/// One commit of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// When it was committed, by the writer's clock.
    pub timestamp: Option<DateTime<Utc>>,
    /// `WRITE`, `MERGE`, `OPTIMIZE` and so on.
    pub operation: Option<String>,
    /// The run that made it, when a run of `lake` did.
    pub run_id: Option<String>,
}

impl Snapshot {
    /// The last `limit` commits, newest first.
    pub async fn history(&self, limit: usize) -> Result<Vec<HistoryEntry>> {
        let infos: Vec<_> = self
            .delta()
            .history(Some(limit))
            .try_collect()
            .await
            .map_err(|e| delta_error(&format!("cannot read the history of `{}`", self.name()), e))?;
        Ok(infos
            .into_iter()
            .map(|info| HistoryEntry {
                timestamp: info.timestamp.and_then(DateTime::from_timestamp_millis),
                operation: info.operation,
                run_id: info.info.get("lake.run_id").and_then(|v| v.as_str()).map(String::from),
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_times_are_told_apart() {
        assert_eq!("12".parse::<At>().unwrap(), At::Version(12));
        let t = |s: &str| DateTime::parse_from_rfc3339(s).unwrap().with_timezone(&Utc);
        assert_eq!("2026-01-31".parse::<At>().unwrap(), At::Time(t("2026-01-31T00:00:00Z")));
        assert_eq!("2026-01-31 12:30:00".parse::<At>().unwrap(), At::Time(t("2026-01-31T12:30:00Z")));
        assert_eq!("2026-01-31T12:00:00+02:00".parse::<At>().unwrap(), At::Time(t("2026-01-31T10:00:00Z")));
        assert_eq!("yesterday".parse::<At>().unwrap_err().kind(), ErrorKind::Config);
    }
}
