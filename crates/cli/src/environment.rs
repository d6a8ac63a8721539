//! The variables of the process and of `.env` in the current folder. Nothing here changes the environment of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;

use lake::{Error, ErrorKind};

/// The file beside the pipeline that sets variables for development.
const FILE: &str = ".env";

/// Variables by name. The process's own win over the file's. Holds secrets, so it has no `Debug`.
#[derive(Default)]
pub(crate) struct Environment {
    process: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process and of `.env` in the current folder, where there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `.env` cannot be read; the message names the line and never its content.
    pub(crate) fn read() -> lake::Result<Self> {
        Ok(Self { process: process_variables(), file: file_variables(Path::new(FILE))? })
    }

    /// The variables of this process only.
    pub(crate) fn of_process() -> Self {
        Self { process: process_variables(), file: BTreeMap::new() }
    }

    /// What `${NAME}` in a pipeline stands for: the value as it is set, even when it is empty.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        self.process.get(name).or_else(|| self.file.get(name)).cloned()
    }

    /// A setting. An empty value counts as not set, because that is how compose files leave settings out.
    pub(crate) fn setting<'a>(&'a self, name: &str) -> Option<&'a str> {
        let set = |variables: &'a BTreeMap<String, String>| variables.get(name).filter(|v| !v.trim().is_empty());
        set(&self.process).or_else(|| set(&self.file)).map(String::as_str)
    }

    /// Every setting whose name starts with `prefix`, by name.
    pub(crate) fn settings_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let names: BTreeSet<&str> = self.process.keys().chain(self.file.keys()).map(String::as_str).collect();
        names.into_iter().filter(move |n| n.starts_with(prefix)).filter_map(|n| self.setting(n).map(|v| (n, v)))
    }

    #[cfg(test)]
    pub(crate) fn of(process: &[(&str, &str)], file: &[(&str, &str)]) -> Self {
        let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Self { process: owned(process), file: owned(file) }
    }
}

fn process_variables() -> BTreeMap<String, String> {
    // A variable that is not text cannot be one of ours.
    std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?))).collect()
}

fn file_variables(path: &Path) -> lake::Result<BTreeMap<String, String>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == IoErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(Error::new(ErrorKind::Config, format!("cannot read `{}`", path.display())).with_source(e)),
    };
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|e| refused(path, &text, &e))
}

/// The line may hold a secret, so it is named by its number.
fn refused(path: &Path, text: &str, error: &dotenvy::Error) -> Error {
    let wrong = match error {
        dotenvy::Error::LineParse(line, _) => text.lines().position(|l| l.trim() == line.trim()),
        _ => None,
    };
    let place = match wrong {
        Some(index) => format!("{}:{}", path.display(), index + 1),
        None => path.display().to_string(),
    };
    Error::new(ErrorKind::Config, format!("{place}: the line does not set a variable"))
        .with_hint("write `NAME=value`, with quotes around a value that has spaces; `#` starts a comment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_wins_over_the_file() {
        let environment = Environment::of(&[("A", "process")], &[("A", "file"), ("B", "file")]);
        assert_eq!(environment.setting("A"), Some("process"));
        assert_eq!(environment.setting("B"), Some("file"));
        assert_eq!(environment.setting("C"), None);
    }

    #[test]
    fn an_empty_value_is_no_setting_but_is_a_value() {
        let environment = Environment::of(&[("A", ""), ("B", " ")], &[("A", "file")]);
        assert_eq!(environment.setting("A"), Some("file"));
        assert_eq!(environment.setting("B"), None);
        assert_eq!(environment.lookup("A").as_deref(), Some(""));
    }

    #[test]
    fn settings_of_a_prefix_come_from_both_once() {
        let environment = Environment::of(&[("AWS_REGION", "eu"), ("PATH", "/bin")], &[("AWS_REGION", "us"), ("AWS_KEY", "k")]);
        assert_eq!(environment.settings_with("AWS_").collect::<Vec<_>>(), [("AWS_KEY", "k"), ("AWS_REGION", "eu")]);
    }

    #[test]
    fn a_file_is_read_with_quotes_and_comments_and_may_be_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        assert!(file_variables(&path).unwrap().is_empty());
        std::fs::write(&path, "# a comment\nLAKE_URI='./my lake'\nexport B=2\n").unwrap();
        let read = file_variables(&path).unwrap();
        assert_eq!((read["LAKE_URI"].as_str(), read["B"].as_str()), ("./my lake", "2"));
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_not_by_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "A=1\nhunter2 is the password\n").unwrap();
        let error = file_variables(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(".env:2: "), "{error}");
        assert!(!error.to_string().contains("hunter2"));
        assert!(error.hint().unwrap().contains("NAME=value"));
    }
}
