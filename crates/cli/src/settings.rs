//! What the flags, the environment and `.env` come to, checked once at the door.

use std::path::PathBuf;

use lake::engine::parse_memory;
use lake::{Error, ErrorKind, Lake, WorkspaceId};

use crate::arguments::GlobalArguments;
use crate::environment::Environment;

/// Where the tables are when nothing says otherwise.
pub(crate) const DEFAULT_URI: &str = "./lakehouse";

/// The workspace when nothing says otherwise.
pub(crate) const DEFAULT_WORKSPACE: &str = "default";

/// The variables that go to the storage client as they are: those with this prefix, and these.
const STORAGE_PREFIX: &str = "AWS_";
const STORAGE_VARIABLES: [&str; 2] = [lake::storage::LOCK_OPTION, lake::storage::RETRY_OPTION];

/// The variables that say how sources are reached; of these, others may start so too (`SOURCE_DATE_EPOCH`).
const SOURCE_PREFIX: &str = "SOURCE_";

/// The settings of one command. Holds secrets, so it has no `Debug`.
pub(crate) struct Settings {
    /// Where the tables are.
    pub(crate) lake_uri: String,
    /// The URI, when a flag gave it: a command that is suggested must repeat it.
    pub(crate) lake_uri_flag: Option<String>,
    /// The workspace, when somebody named one.
    pub(crate) workspace: Option<WorkspaceId>,
    /// The workspace that commands use when `--workspace` is left out.
    pub(crate) usual_workspace: String,
    /// The catalog's file, when somebody named one; it must exist then.
    pub(crate) catalog: Option<PathBuf>,
    /// The memory budget, in bytes.
    pub(crate) memory: Option<u64>,
    /// Threads of one query.
    pub(crate) threads: Option<usize>,
    /// The variables, for `${NAME}` in pipelines and for the storage client.
    pub(crate) environment: Environment,
}

impl Settings {
    /// Flags win over the environment, which wins over `.env`, which wins over the default.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a value that cannot be; the message says where it came from.
    pub(crate) fn resolve(flags: &GlobalArguments, environment: Environment) -> lake::Result<Self> {
        let uri = environment.setting("LAKE_URI").unwrap_or(DEFAULT_URI);
        let memory = Given::choose("--memory", flags.memory.as_deref(), "LAKE_MEMORY", &environment);
        let workspace = Given::choose("--workspace", flags.workspace.as_deref(), "WORKSPACE_ID", &environment);
        Ok(Self {
            lake_uri: flags.lake_uri.clone().unwrap_or_else(|| uri.to_owned()),
            lake_uri_flag: flags.lake_uri.clone(),
            memory: memory.map(|m| m.read(parse_memory)).transpose()?,
            workspace: workspace.map(|w| w.read(|name| WorkspaceId::new(name))).transpose()?,
            usual_workspace: environment.setting("WORKSPACE_ID").unwrap_or(DEFAULT_WORKSPACE).to_owned(),
            catalog: flags.catalog.clone().or_else(|| environment.setting("LAKE_CATALOG_FILE").map(PathBuf::from)),
            threads: flags.threads.map(usize::from),
            environment,
        })
    }

    /// The lake of these settings.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the URI or the budget cannot be.
    pub(crate) fn lake(&self) -> lake::Result<Lake> {
        let mut builder = Lake::builder().uri(&self.lake_uri);
        for (name, value) in self.environment.settings_with(STORAGE_PREFIX) {
            builder = builder.storage_option(name, value);
        }
        for name in STORAGE_VARIABLES {
            if let Some(value) = self.environment.setting(name) {
                builder = builder.storage_option(name, value);
            }
        }
        for (name, value) in self.environment.settings_with(SOURCE_PREFIX).filter(|(name, _)| name.contains("_AWS_")) {
            builder = builder.source_option(name, value);
        }
        if let Some(bytes) = self.memory {
            builder = builder.memory(bytes);
        }
        if let Some(threads) = self.threads {
            builder = builder.threads(threads);
        }
        builder.build()
    }

    /// The workspace to query: the one that was named, or the default.
    ///
    /// # Errors
    /// None in practice: the default is a valid name.
    pub(crate) fn query_workspace(&self) -> lake::Result<WorkspaceId> {
        self.workspace.clone().map_or_else(|| WorkspaceId::new(DEFAULT_WORKSPACE), Ok)
    }
}

/// A value as somebody gave it, and what they gave it by.
struct Given<'a> {
    by: &'static str,
    value: &'a str,
}

impl<'a> Given<'a> {
    fn choose(
        flag: &'static str,
        flag_value: Option<&'a str>,
        variable: &'static str,
        environment: &'a Environment,
    ) -> Option<Self> {
        let from_flag = flag_value.map(|value| Self { by: flag, value });
        from_flag.or_else(|| environment.setting(variable).map(|value| Self { by: variable, value }))
    }

    fn read<T>(&self, parse: impl FnOnce(&str) -> lake::Result<T>) -> lake::Result<T> {
        parse(self.value).map_err(|e| {
            let named = Error::new(ErrorKind::Config, format!("`{}`: {e}", self.by));
            match e.hint() {
                Some(hint) => named.with_hint(hint),
                None => named,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> GlobalArguments {
        GlobalArguments::default()
    }

    const EVERYTHING: [(&str, &str); 4] =
        [("LAKE_URI", "s3://b/p"), ("WORKSPACE_ID", "globex"), ("LAKE_MEMORY", "1GiB"), ("LAKE_CATALOG_FILE", "c.json")];

    #[test]
    fn defaults_hold_when_nothing_is_said() {
        let settings = Settings::resolve(&flags(), Environment::default()).unwrap();
        assert_eq!(settings.lake_uri, "./lakehouse");
        assert_eq!(settings.workspace, None);
        assert_eq!(settings.query_workspace().unwrap().as_str(), "default");
        assert_eq!(settings.catalog, None);
        assert_eq!((settings.memory, settings.threads), (None, None));
    }

    #[test]
    fn the_environment_wins_over_the_default() {
        let settings = Settings::resolve(&flags(), Environment::of(&EVERYTHING, &[])).unwrap();
        assert_eq!(settings.lake_uri, "s3://b/p");
        assert_eq!(settings.workspace.as_ref().unwrap().as_str(), "globex");
        assert_eq!(settings.catalog, Some(PathBuf::from("c.json")));
        assert_eq!(settings.memory, Some(1 << 30));
    }

    #[test]
    fn the_file_counts_only_where_the_environment_is_silent() {
        let process = [("LAKE_URI", "./other"), ("WORKSPACE_ID", "")];
        let settings = Settings::resolve(&flags(), Environment::of(&process, &EVERYTHING)).unwrap();
        assert_eq!(settings.lake_uri, "./other");
        assert_eq!(settings.workspace.as_ref().unwrap().as_str(), "globex");
    }

    #[test]
    fn a_flag_wins_over_everything() {
        let given = GlobalArguments {
            lake_uri: Some("./flag".into()),
            workspace: Some("acme".into()),
            memory: Some("512MiB".into()),
            catalog: Some("flag.json".into()),
            ..flags()
        };
        let settings = Settings::resolve(&given, Environment::of(&EVERYTHING, &EVERYTHING)).unwrap();
        assert_eq!(settings.lake_uri, "./flag");
        assert_eq!(settings.lake_uri_flag.as_deref(), Some("./flag"));
        assert_eq!(settings.workspace.as_ref().unwrap().as_str(), "acme");
        assert_eq!(settings.usual_workspace, "globex");
        assert_eq!(settings.memory, Some(512 << 20));
        assert_eq!(settings.catalog, Some(PathBuf::from("flag.json")));
    }

    #[test]
    fn a_wrong_value_says_where_it_came_from() {
        let environment = Environment::of(&[("LAKE_MEMORY", "lots")], &[]);
        let error = Settings::resolve(&flags(), environment).err().unwrap();
        assert_eq!(error.to_string(), "`LAKE_MEMORY`: `lots` is not an amount of memory");
        assert_eq!(error.kind(), ErrorKind::Config);
        let given = GlobalArguments { workspace: Some("__x".into()), ..flags() };
        let error = Settings::resolve(&given, Environment::default()).err().unwrap();
        assert!(error.to_string().starts_with("`--workspace`: workspace name starts with"), "{error}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn variables_of_sources_reach_the_lake_apart_from_its_own() {
        let process = [("SOURCE_AWS_REGION", "eu"), ("SOURCE_FEEDS_AWS_REGION", "us"), ("SOURCE_DATE_EPOCH", "1")];
        let file = [("SOURCE_AWS_REGION", "file"), ("SOURCE_AWS_ACCESS_KEY_ID", "hidden"), ("AWS_REGION", "lake")];
        let lake = Settings::resolve(&flags(), Environment::of(&process, &file)).unwrap().lake().unwrap();
        let options = lake.source_options();
        assert_eq!(options.len(), 3);
        assert_eq!((options["SOURCE_AWS_REGION"].as_str(), options["SOURCE_AWS_ACCESS_KEY_ID"].as_str()), ("eu", "hidden"));
        assert_eq!(lake.root().options().len(), 1);
        assert!(!format!("{lake:?}").contains("hidden"));
    }

    #[test]
    fn storage_variables_reach_the_lake() {
        let environment =
            Environment::of(&[("AWS_REGION", "eu"), ("PATH", "/bin")], &[("AWS_ENDPOINT_URL", "http://localhost:1")]);
        let lake = Settings::resolve(&flags(), environment).unwrap().lake().unwrap();
        let options = lake.root().options();
        assert_eq!(options.len(), 2);
        assert_eq!((options["AWS_REGION"].as_str(), options["AWS_ENDPOINT_URL"].as_str()), ("eu", "http://localhost:1"));
    }
}
