//! What a catalog is told: the tables there are, and the runs that made them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lineage::TableLineage;

/// A table as a catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// `layer.name`.
    pub name: String,
    /// `bronze`, `silver` or `gold`.
    pub layer: String,
    /// The table's URL or path; without credentials.
    pub location: String,
    /// In the order of the table.
    pub columns: Vec<ColumnRecord>,
    /// What is in it.
    #[serde(default)]
    pub description: Option<String>,
    /// The columns that tell two rows apart; empty when there is no key.
    #[serde(default)]
    pub key: Vec<String>,
    /// The columns that files are partitioned by.
    #[serde(default)]
    pub partition_columns: Vec<String>,
    /// The version this describes.
    #[serde(default)]
    pub version: Option<i64>,
}

/// A column as a catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRecord {
    /// Its name.
    pub name: String,
    /// Its type, in the words of [`AttributeType`](crate::AttributeType) where they suffice.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it means.
    #[serde(default)]
    pub description: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Every table is up to date.
    Succeeded,
    /// At least one table failed.
    Failed,
    /// It was stopped.
    Interrupted,
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Different for each run.
    pub run_id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// How it ended.
    pub status: RunStatus,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; of two runs the one that ended later has the latest lineage.
    pub finished_at: DateTime<Utc>,
    /// Of the tables it wrote, and of no others; one for each.
    pub lineage: Vec<TableLineage>,
    /// The run report (`run.json`).
    pub report: Value,
}
