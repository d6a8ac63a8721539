//! What can be typed after `lake`. Values stay text here where reading them can fail with advice.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Bronze, silver and gold Delta tables from one YAML file.
///
/// Results go to stdout, words and progress to stderr. Exit codes: 0 done; 1 the data or a job failed; 2 the pipeline, the
/// arguments or the configuration are wrong; 3 `plan --detailed-exitcode` found changes; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "lake", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes. Each beats its environment variable, which beats `.env` in the current folder.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArguments {
    /// Where the tables are: a folder or s3://bucket/prefix [env: LAKE_URI] [default: ./lakehouse]
    #[arg(long, global = true, value_name = "URI")]
    pub(crate) lake_uri: Option<String>,

    /// The workspace to work for [env: WORKSPACE_ID] [default: default]
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(crate) workspace: Option<String>,

    /// The catalog's file of methods and ontologies [env: LAKE_CATALOG_FILE] [default: catalog/stub-catalog.json]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) catalog: Option<PathBuf>,

    /// The memory budget, such as 512MiB [env: LAKE_MEMORY] [default: no limit]
    #[arg(long, global = true, value_name = "SIZE")]
    pub(crate) memory: Option<String>,

    /// Threads of one query [default: one a core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,

    /// The form of the result; csv and ndjson are for `query`
    #[arg(long, short, global = true, value_enum, value_name = "FORM", default_value_t)]
    pub(crate) output: OutputForm,

    /// Say nothing but errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Log what happens; twice for more [filter by env: LAKE_LOG]
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// When to use colours; `auto` heeds NO_COLOR
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: ColorChoice,

    /// The form of log lines
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value_t)]
    pub(crate) log_format: LogForm,
}

/// The form of a command's result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputForm {
    /// Tables and sentences for people
    #[default]
    #[value(alias = "table")]
    Human,
    /// One JSON document
    Json,
    /// Comma-separated values with a header (`query` only)
    Csv,
    /// One JSON object a line (`query` only)
    Ndjson,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogForm {
    /// For people
    #[default]
    Human,
    /// One JSON object a line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a small pipeline with data that runs as it is
    Init(InitArguments),
    /// Bring the tables of a pipeline up to date
    Run(RunArguments),
    /// Check a pipeline without moving data
    Validate(PipelineArguments),
    /// Show what a run would change, and what it costs
    Plan(PlanArguments),
    /// List the tables of the lake
    Status,
    /// Query the tables of a workspace with SQL
    Query(QueryArguments),
    /// Find the rows of a workspace whose texts are nearest to a text
    Search(SearchArguments),
    /// Read the graph of a workspace
    Graph(GraphArguments),
    /// Compare the stores of vectors and graph with the tables, and repair them
    Reconcile(ReconcileArguments),
    /// Show where a table or column comes from, or goes to
    Lineage(LineageArguments),
    /// List the methods that can fill a bronze table
    Methods(MethodsArguments),
    /// Show the entities and relations of the ontology
    Ontology(OntologyArguments),
    /// Check the store, its fence between writers, the clock, the lock, the tables and the catalog
    Doctor,
    /// Print the JSON Schema of pipeline files, for editors
    Schema,
    /// Merge small files, or sort rows for faster queries
    Optimize(OptimizeArguments),
    /// Delete files that no recent version of a table needs
    Vacuum(VacuumArguments),
    /// Put a table back to what it was at a version or time
    Restore(RestoreArguments),
    /// Print the completion script of a shell
    Completions(CompletionsArguments),
}

/// `lake init`.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The folder to write to; made when it does not exist
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// A pipeline file.
#[derive(Debug, Clone, Args)]
pub(crate) struct PipelineArguments {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.YAML")]
    pub(crate) pipeline: String,
}

/// `lake run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) file: PipelineArguments,
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
    /// Rebuild the tables from all of their input
    #[arg(long)]
    pub(crate) full_refresh: bool,
}

/// Which tables of a pipeline.
#[derive(Debug, Clone, Args)]
pub(crate) struct SelectionArguments {
    /// Only this table; `+silver.posts` with what it reads, `silver.posts+` with what reads it; may be repeated
    #[arg(long, short, value_name = "TABLE")]
    pub(crate) select: Vec<String>,
}

/// `lake plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) file: PipelineArguments,
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
    /// Exit with 3 when a run would change something
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

/// `lake query`.
#[derive(Debug, Args)]
pub(crate) struct QueryArguments {
    /// One SELECT; tables are called layer.table; `-` reads it from stdin
    #[arg(value_name = "SQL")]
    pub(crate) sql: String,
    /// Read the tables as they were: a version, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "VERSION|TIME")]
    pub(crate) at: Option<String>,
    /// At most this many rows
    #[arg(long, short = 'n', value_name = "ROWS")]
    pub(crate) limit: Option<usize>,
}

/// `lake search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArguments {
    /// What to search for
    #[arg(value_name = "TEXT")]
    pub(crate) text: String,
    /// The table whose vectors are searched, such as silver.posts, or the vector table itself
    #[arg(long, short, value_name = "TABLE")]
    pub(crate) table: String,
    /// Only rows for which this holds, such as "brand = 'x' AND likes > 10"
    #[arg(long = "where", value_name = "SQL")]
    pub(crate) condition: Option<String>,
    /// At most this many rows
    #[arg(long, short = 'n', value_name = "ROWS", default_value_t = 10)]
    pub(crate) limit: usize,
}

/// `lake graph`.
#[derive(Debug, Args)]
pub(crate) struct GraphArguments {
    #[command(subcommand)]
    pub(crate) command: GraphCommand,
    /// The pipeline whose graph it is; needed where there are several
    #[arg(long, global = true, value_name = "PIPELINE")]
    pub(crate) graph: Option<String>,
}

/// What to read of a graph.
#[derive(Debug, Subcommand)]
pub(crate) enum GraphCommand {
    /// The nodes around a node, and the edges between them
    Neighbors {
        /// The node, such as Person:alice
        #[arg(value_name = "LABEL:ID")]
        node: String,
        /// How many steps to go
        #[arg(long, value_name = "STEPS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=20))]
        depth: u32,
        /// At most this many nodes, the nearest
        #[arg(long, short = 'n', value_name = "NODES", default_value_t = 100)]
        limit: usize,
    },
    /// What matches a query in a part of Cypher that only reads
    Query {
        /// Such as "MATCH (p:Person)-[:WROTE]->(x:Post) RETURN p.id, count(*) AS posts ORDER BY posts DESC"
        #[arg(value_name = "CYPHER")]
        query: String,
        /// At most this many rows
        #[arg(long, short = 'n', value_name = "ROWS", default_value_t = 1000)]
        limit: usize,
    },
}

/// `lake reconcile`.
#[derive(Debug, Args)]
pub(crate) struct ReconcileArguments {
    #[command(flatten)]
    pub(crate) file: PipelineArguments,
    /// Make the stores as the tables are
    #[arg(long)]
    pub(crate) repair: bool,
}

/// `lake lineage`.
#[derive(Debug, Args)]
pub(crate) struct LineageArguments {
    /// A table or a column: layer.table or layer.table.column
    #[arg(value_name = "LAYER.TABLE[.COLUMN]")]
    pub(crate) item: String,
    /// Show what is made from it instead of what it is made from
    #[arg(long)]
    pub(crate) downstream: bool,
    /// How many steps to follow
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) depth: Option<u16>,
}

/// `lake methods`.
#[derive(Debug, Args)]
pub(crate) struct MethodsArguments {
    /// Show this method with its inputs and outputs
    pub(crate) id: Option<String>,
    /// Only methods that bring this entity
    #[arg(long, value_name = "ENTITY", conflicts_with = "id")]
    pub(crate) entity_type: Option<String>,
}

/// `lake ontology`.
#[derive(Debug, Args)]
pub(crate) struct OntologyArguments {
    /// A version other than the newest
    #[arg(long = "version", value_name = "VERSION")]
    pub(crate) ontology_version: Option<String>,
}

/// Which tables of the lake.
#[derive(Debug, Clone, Args)]
pub(crate) struct TablesArguments {
    /// The tables, such as silver.posts; all when none is named
    #[arg(value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
}

/// `lake optimize`.
#[derive(Debug, Args)]
pub(crate) struct OptimizeArguments {
    #[command(flatten)]
    pub(crate) tables: TablesArguments,
    /// Sort the rows by these columns together, so that queries on any of them skip files
    #[arg(long, alias = "zorder-by", value_name = "COLUMN,...", value_delimiter = ',', requires = "tables")]
    pub(crate) z_order: Vec<String>,
}

/// `lake vacuum`.
#[derive(Debug, Args)]
pub(crate) struct VacuumArguments {
    #[command(flatten)]
    pub(crate) tables: TablesArguments,
    /// Keep what versions of the last hours need
    #[arg(long, value_name = "HOURS", default_value_t = lake::table::SAFE_RETENTION_HOURS, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) retention_hours: i64,
    /// List the files, delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Allow less than 168 hours, which can break running readers and writers
    #[arg(long)]
    pub(crate) allow_short_retention: bool,
}

/// `lake restore`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("to").required(true).args(["to_version", "to_time"]))]
pub(crate) struct RestoreArguments {
    /// The table, such as silver.posts; its quarantine and tombstones go with it
    #[arg(value_name = "TABLE")]
    pub(crate) table: String,
    /// The version to go back to
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) to_version: Option<i64>,
    /// The time to go back to, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) to_time: Option<String>,
    /// Say what would be done, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `lake completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Arguments {
        Arguments::try_parse_from(line.split(' ')).unwrap()
    }

    fn refused(line: &str) -> String {
        Arguments::try_parse_from(line.split(' ')).unwrap_err().to_string()
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_flags_are_taken_before_and_after_the_command() {
        for line in ["lake -w acme --output json status", "lake status -w acme --output json"] {
            let arguments = parsed(line);
            assert_eq!(arguments.global.workspace.as_deref(), Some("acme"));
            assert_eq!(arguments.global.output, OutputForm::Json);
        }
    }

    #[test]
    fn selections_add_up_and_leave_the_pipeline_alone() {
        let Command::Run(run) = parsed("lake run --select silver.posts+ --select gold.daily p.yaml --full-refresh").command
        else {
            panic!()
        };
        assert_eq!(run.selection.select, ["silver.posts+", "gold.daily"]);
        assert_eq!(run.file.pipeline, "p.yaml");
        assert!(run.full_refresh);
    }

    #[test]
    fn z_order_needs_the_table_it_is_for() {
        let Command::Optimize(optimize) = parsed("lake optimize silver.posts --z-order author,day").command else { panic!() };
        assert_eq!(optimize.z_order, ["author", "day"]);
        assert!(refused("lake optimize --z-order author").contains("TABLE"));
    }

    #[test]
    fn a_restore_says_to_which_version_or_time_but_not_both() {
        let Command::Restore(restore) = parsed("lake restore silver.posts --to-version 3 --dry-run").command else { panic!() };
        assert_eq!((restore.table.as_str(), restore.to_version, restore.dry_run), ("silver.posts", Some(3), true));
        assert!(refused("lake restore silver.posts").contains("--to-version"));
        assert!(refused("lake restore silver.posts --to-version 3 --to-time 2026-01-31").contains("--to-time"));
        assert!(refused("lake restore silver.posts --to-version=-1").contains("-1"));
    }

    #[test]
    fn a_slip_of_the_pen_is_met_with_the_right_name() {
        assert!(refused("lake stauts").contains("'status'"));
        assert!(refused("lake run p.yaml --selct a").contains("'--select'"));
        assert!(refused("lake status --output jsn").contains("json"));
    }

    #[test]
    fn quiet_and_verbose_exclude_each_other() {
        assert!(refused("lake status -q -v").contains("--verbose"));
        assert_eq!(parsed("lake status -vv").global.verbose, 2);
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        assert!(refused("lake status --threads 0").contains('0'));
        assert!(refused("lake lineage gold.a --depth 0").contains('0'));
        assert!(refused("lake vacuum --retention-hours=-1").contains("-1"));
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in Arguments::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
