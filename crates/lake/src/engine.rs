//! The query engine of this process: one memory budget, one place to spill, sessions that can only read.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{MemoryPool, TrackConsumersPool, UnboundedMemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::optimizer::Optimizer;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::budget::{Budget, LEAST_MEMORY, cores};
use crate::distinct::with_parting;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::SharedPool;
use crate::repartition::OneInput;

/// The name of the only catalog in a session.
pub const CATALOG: &str = "lake";

/// Tables of this part of the pool or less, as they are stored, are taken to fit in it whatever a query makes of them.
const FITS: usize = 32;

/// Spilled runs that a sort merges at a time under a budget. Without a limit it takes all the pool has to read as many as it can, and what comes after
/// it in the plan finds no room.
const MERGED_RUNS: usize = 16;

/// How an [`Engine`] is set up.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Bytes of memory that the process may use; `None` for no limit.
    pub memory: Option<u64>,
    /// Threads of one query; `None` for one a core.
    pub threads: Option<usize>,
    /// Where operators spill; `None` for the system's folder for temporary files.
    pub spill: Option<PathBuf>,
}

/// Shared by all workspaces of a [`crate::Lake`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    runtime: Arc<RuntimeEnv>,
    options: EngineOptions,
    /// Whether rows keep their order, which takes a single thread.
    ordered: bool,
}

impl Engine {
    /// Sets up the budget and the folder to spill to.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a budget below 512 MiB.
    pub fn new(options: EngineOptions) -> Result<Self> {
        let mut disk = match &options.spill {
            None => DiskManagerBuilder::default().with_mode(DiskManagerMode::OsTmpDirectory),
            Some(folder) => DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![folder.clone()])),
        };
        if options.memory.is_some() {
            disk = disk.with_max_spill_merge_fan_in(MERGED_RUNS);
        }
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool(options.memory)?)
            .with_disk_manager_builder(disk)
            .build()
            .map_err(|e| Error::new(ErrorKind::Storage, "cannot set up the query engine").with_source(e))?;
        Ok(Self { runtime: Arc::new(runtime), options, ordered: false })
    }

    /// The memory budget, in bytes.
    pub fn memory(&self) -> Option<u64> {
        self.options.memory
    }

    /// The parts of that budget.
    pub fn budget(&self) -> Budget {
        Budget::new(self.options.memory)
    }

    /// Threads of one query.
    pub fn threads(&self) -> usize {
        self.budget().threads(self.options.threads.unwrap_or_else(cores))
    }

    /// Where rows go that find no room in memory.
    pub fn spill_folder(&self) -> PathBuf {
        self.options.spill.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// The same engine with one thread a query, so that rows keep their order.
    #[must_use]
    pub fn single_threaded(&self) -> Self {
        Self { ordered: true, ..self.clone() }
    }

    /// A session without tables.
    pub fn session(&self) -> SessionContext {
        self.session_with(session_config())
    }

    /// A session for the work of one job, with a schema to name intermediate results in. Users' SQL never runs in it.
    pub fn scratch_session(&self) -> SessionContext {
        self.session_with(session_config().with_create_default_catalog_and_schema(true))
    }

    fn session_with(&self, config: SessionConfig) -> SessionContext {
        let budget = self.budget();
        let threads = if self.ordered { 1 } else { self.threads() };
        let mut config = config.with_target_partitions(threads).with_batch_size(budget.batch_rows());
        if !budget.is_unlimited() {
            config = config.with_sort_spill_reservation_bytes(budget.sort_reserve());
            // Hash joins cannot spill; sort-merge joins can.
            config.options_mut().optimizer.prefer_hash_join = false;
        }
        let mut state =
            SessionStateBuilder::new().with_config(config).with_runtime_env(self.runtime.clone()).with_default_features();
        if let Some(pool) = budget.pool() {
            state = state.with_optimizer_rules(with_parting(Optimizer::new().rules, pool / FITS));
            state = state.with_physical_optimizer_rule(Arc::new(OneInput));
        }
        let session = SessionContext::new_with_state(state.build());
        crate::functions::register(&session);
        session
    }
}

/// The configuration that planning and running share: names keep their case, text is `Utf8`, nothing is listed.
pub fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new().with_default_catalog_and_schema(CATALOG, "silver").with_information_schema(false);
    config = config.with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    config
}

fn pool(memory: Option<u64>) -> Result<Arc<dyn MemoryPool>> {
    let (Some(bytes), Some(share)) = (memory, Budget::new(memory).pool()) else {
        return Ok(Arc::new(UnboundedMemoryPool::default()));
    };
    if bytes < LEAST_MEMORY {
        return Err(Error::new(ErrorKind::Config, format!("a memory budget of {bytes} bytes is too small"))
            .with_hint("give at least 512MiB, such as `--memory 1GiB`"));
    }
    let consumers = std::num::NonZeroUsize::MIN.saturating_add(4);
    Ok(Arc::new(TrackConsumersPool::new(SharedPool::new(share), consumers)))
}

/// Reads `512MiB`, `2GB`, `1.5GiB` or a number of bytes.
///
/// # Errors
/// [`ErrorKind::Config`] for anything else.
pub fn parse_memory(text: &str) -> Result<u64> {
    let wrong = || {
        Error::new(ErrorKind::Config, format!("`{text}` is not an amount of memory")).with_hint("write it as `512MiB` or `2GiB`")
    };
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit: f64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kib" | "k" => 1024.0,
        "mib" | "m" => 1024.0 * 1024.0,
        "gib" | "g" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        _ => return Err(wrong()),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number has no sign")]
    Ok((number * unit) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_with_binary_and_decimal_units() {
        assert_eq!(parse_memory("512MiB").unwrap(), 512 << 20);
        assert_eq!(parse_memory("1.5GiB").unwrap(), 3 << 29);
        assert_eq!(parse_memory("2GB").unwrap(), 2_000_000_000);
        assert_eq!(parse_memory("1048576").unwrap(), 1 << 20);
        assert!(parse_memory("lots").is_err());
        assert!(parse_memory("12 parsecs").is_err());
    }

    #[test]
    fn a_tiny_budget_is_refused_with_a_hint() {
        let error = Engine::new(EngineOptions { memory: Some(1 << 20), ..Default::default() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint().unwrap().contains("512MiB"));
    }
}
