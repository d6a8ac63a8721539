//! Source files on this machine.

use std::collections::{BTreeSet, HashSet};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use lake::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use super::pattern::{
    OPTIONS, has_ending, is_glob, is_hidden, is_hidden_name, nearest_name, no_ending, no_match, no_pattern, tidy,
};
use super::{SourceFile, SourceStore, changed};
use crate::ingest::format::{Format, Input};

/// Files of this machine.
#[derive(Debug, Clone, Default)]
pub struct LocalStore {
    base: PathBuf,
}

impl LocalStore {
    /// Relative paths start at `base`; the default is the current directory.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }

    fn list_now(&self, pattern: &str, format: Option<Format>) -> Result<Vec<SourceFile>> {
        let pattern = normalised(pattern)?;
        let whole = self.base.join(&pattern);
        let paths = if whole.is_file() {
            vec![pattern]
        } else if whole.is_dir() {
            self.below(&pattern, format)?
        } else if is_glob(&pattern) {
            self.matching(&pattern)?
        } else {
            return Err(self.missing(&pattern));
        };
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let metadata = self.base.join(&path).metadata().map_err(|e| unreadable(&path, e))?;
            if metadata.len() > 0 {
                files.push(SourceFile::new(path, metadata.len(), modified(&metadata), None));
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The files below `folder` that have an ending of `format`.
    fn below(&self, folder: &str, format: Option<Format>) -> Result<Vec<String>> {
        let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
        // A link to a folder above would never end.
        let mut seen = HashSet::new();
        while let Some(folder) = folders.pop() {
            let place = self.base.join(&folder);
            if !seen.insert(place.canonicalize().map_err(|e| unreadable(&folder, e))?) {
                continue;
            }
            for entry in place.read_dir().map_err(|e| unreadable(&folder, e))? {
                let name = entry.map_err(|e| unreadable(&folder, e))?.file_name();
                let name = name.to_str().ok_or_else(|| not_utf8(&folder))?;
                let path = if folder.ends_with('/') { format!("{folder}{name}") } else { format!("{folder}/{name}") };
                let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
                match self.base.join(&path) {
                    _ if is_hidden_name(name) => {}
                    place if place.is_dir() => folders.push(path),
                    place if place.is_file() && has_ending(name, format) => found.push(path),
                    _ => {}
                }
            }
        }
        if found.is_empty() { Err(no_ending(folder, format)) } else { Ok(found) }
    }

    /// The files that match `pattern`.
    fn matching(&self, pattern: &str) -> Result<Vec<String>> {
        let base = self.base.to_str().map(glob::Pattern::escape).ok_or_else(|| not_utf8("."))?;
        let whole = if base.is_empty() || pattern.starts_with('/') { pattern.to_owned() } else { format!("{base}/{pattern}") };
        // The library walks past every name with a leading dot, even one that the pattern spells out.
        let spelt_out = pattern.split('/').any(|part| part.starts_with('.') && is_glob(part));
        let options = glob::MatchOptions { require_literal_leading_dot: !spelt_out, ..OPTIONS };
        let entries = glob::glob_with(&whole, options).map_err(|e| no_pattern(pattern, &e))?;
        let mut found = Vec::new();
        for entry in entries {
            let place = entry.map_err(|e| unreadable(pattern, e.into()))?;
            let path = if pattern.starts_with('/') { &place } else { place.strip_prefix(&self.base).unwrap_or(&place) };
            let path = path.to_str().ok_or_else(|| not_utf8(pattern))?;
            if place.is_file() && !is_hidden(path, pattern) {
                found.push(path.to_owned());
            }
        }
        if found.is_empty() { Err(self.missing(pattern)) } else { Ok(found) }
    }

    /// The error for a pattern without files, with the nearest thing that is there.
    fn missing(&self, pattern: &str) -> Error {
        let error = no_match(pattern);
        let mut there = String::from(if pattern.starts_with('/') { "/" } else { "" });
        for part in pattern.split('/').filter(|p| !p.is_empty()) {
            let next =
                if there.is_empty() || there.ends_with('/') { format!("{there}{part}") } else { format!("{there}/{part}") };
            if is_glob(part) || !self.base.join(&next).exists() {
                return error.with_hint(self.nearest_to(&there, part));
            }
            there = next;
        }
        error
    }

    fn nearest_to(&self, folder: &str, part: &str) -> String {
        let place = if folder.is_empty() { self.base.join(".") } else { self.base.join(folder) };
        let shown = if folder.is_empty() { "the current directory" } else { &format!("`{folder}`") };
        if !place.is_dir() {
            return format!("{shown} is a file, not a folder");
        }
        let names: BTreeSet<String> =
            place.read_dir().into_iter().flatten().filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
        nearest_name(shown, part, &names)
    }

    fn open_now(&self, file: &SourceFile) -> Result<Input> {
        let opened = File::open(self.base.join(&file.path)).map_err(|e| unreadable(&file.path, e))?;
        let metadata = opened.metadata().map_err(|e| unreadable(&file.path, e))?;
        match (metadata.len(), modified(&metadata)) == (file.size, file.modified) {
            true => Ok(Input::File(opened)),
            false => Err(changed(&file.path)),
        }
    }
}

#[async_trait]
impl SourceStore for LocalStore {
    async fn list(&self, pattern: &str, format: Option<Format>) -> Result<Vec<SourceFile>> {
        let (store, pattern) = (self.clone(), pattern.to_owned());
        blocking(move || store.list_now(&pattern, format)).await
    }

    async fn open(&self, file: &SourceFile, _stop: &CancellationToken) -> Result<Input> {
        let (store, file) = (self.clone(), file.clone());
        blocking(move || store.open_now(&file)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::new(ErrorKind::Internal, "reading the file system stopped").with_source(error)),
    }
}

/// `pattern` as a path without `file://`, without `.` and doubled `/`.
fn normalised(pattern: &str) -> Result<String> {
    let path = match pattern.strip_prefix("file://") {
        None => pattern.to_owned(),
        Some(rest) => local_path(pattern, rest)?,
    };
    if path.trim().is_empty() {
        return Err(
            Error::new(ErrorKind::Config, "the path of a source is empty").with_hint("name a file, a folder or a pattern")
        );
    }
    let tidied = tidy(&path);
    let root = if path.starts_with('/') { "/" } else { "" };
    match tidied.is_empty() && root.is_empty() {
        true => Ok(".".to_owned()),
        false => Ok(format!("{root}{tidied}")),
    }
}

/// The path of a `file:` URL. `?` and `#` are characters of a pattern here, not parts of the URL.
fn local_path(pattern: &str, rest: &str) -> Result<String> {
    let refused = || {
        Error::new(ErrorKind::Config, format!("`{pattern}` does not name a file of this machine"))
            .with_hint("write an absolute path with three slashes, such as `file:///data/posts`")
    };
    let escaped = format!("file://{}", rest.replace('?', "%3F").replace('#', "%23"));
    let url = url::Url::parse(&escaped).map_err(|_| refused())?;
    let path = url.to_file_path().map_err(|()| refused())?;
    path.into_os_string().into_string().map_err(|_| refused())
}

fn modified(metadata: &Metadata) -> i64 {
    let since = metadata.modified().ok().and_then(|m| m.duration_since(UNIX_EPOCH).ok());
    since.and_then(|s| i64::try_from(s.as_nanos()).ok()).unwrap_or_default()
}

fn unreadable(path: impl AsRef<Path>, error: io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("`{}` cannot be read: {error}", path.as_ref().display())).with_source(error)
}

fn not_utf8(place: &str) -> Error {
    Error::new(ErrorKind::Data, format!("the name of a file in `{place}` is not UTF-8")).with_hint("rename the file")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::ingest::source::contract::Subject;

    fn store(files: &[&str]) -> (tempfile::TempDir, LocalStore) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, if file.contains("empty") { "" } else { "x" }).unwrap();
        }
        let store = LocalStore::new(folder.path());
        (folder, store)
    }

    fn paths(store: &LocalStore, pattern: &str) -> Vec<String> {
        store.list_now(pattern, None).unwrap().into_iter().map(|f| f.path).collect()
    }

    /// A folder for each promise, named by its whole path.
    struct Folder(tempfile::TempDir);

    #[async_trait]
    impl Subject for Folder {
        fn store(&self) -> Arc<dyn SourceStore> {
            Arc::new(LocalStore::default())
        }

        fn root(&self) -> String {
            format!("{}/", self.0.path().display())
        }

        async fn put(&self, name: &str, content: &[u8]) {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        async fn remove(&self, name: &str) {
            fs::remove_file(self.0.path().join(name)).unwrap();
        }
    }

    mod promises {
        use super::*;

        crate::source_contract!(Folder(tempfile::tempdir().unwrap()));
    }

    #[test]
    fn a_folder_is_all_files_below_with_a_known_ending() {
        let (_folder, store) = store(&[
            "d/b.csv",
            "d/a/z.ndjson.gz",
            "d/c.txt",
            "d/.hidden.csv",
            "d/_temporary/0/x.csv",
            "d/_SUCCESS",
            "d/empty.csv",
            "e.csv",
            "d/.git/x.csv",
        ]);
        assert_eq!(paths(&store, "d"), ["d/a/z.ndjson.gz", "d/b.csv"]);
        assert_eq!(paths(&store, "./d//"), ["d/a/z.ndjson.gz", "d/b.csv"]);
        assert_eq!(paths(&store, "."), ["d/a/z.ndjson.gz", "d/b.csv", "e.csv"]);
        let csv = store.list_now("d", Some(Format::Csv)).unwrap();
        assert_eq!(csv.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["d/b.csv"]);
        let error = store.list_now("d", Some(Format::Parquet)).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NotFound, "no file below `d` ends in `.parquet`"));
    }

    #[test]
    fn a_file_is_itself_whatever_its_name() {
        let (_folder, store) = store(&["_x.txt", "a[1].csv", "empty.csv", ".h.csv"]);
        assert_eq!(paths(&store, "_x.txt"), ["_x.txt"]);
        assert_eq!(paths(&store, "a[1].csv"), ["a[1].csv"]);
        assert_eq!(paths(&store, "./.h.csv"), [".h.csv"]);
        assert!(paths(&store, "empty.csv").is_empty());
    }

    #[test]
    fn a_pattern_matches_files_and_not_what_is_hidden() {
        let (_folder, store) =
            store(&["d/1.csv", "d/2.csv", "d/.3.csv", "d/_4.csv", "d/x/5.csv", "d/x/_temporary/6.csv", "d/csv/7.txt"]);
        assert_eq!(paths(&store, "d/*.csv"), ["d/1.csv", "d/2.csv"]);
        assert_eq!(paths(&store, "d/[2-9].csv"), ["d/2.csv"]);
        assert_eq!(paths(&store, "d/_*.csv"), ["d/_4.csv"]);
        assert_eq!(paths(&store, "d/**/*.csv"), ["d/1.csv", "d/2.csv", "d/x/5.csv"]);
        assert_eq!(paths(&store, "*/x/*.csv"), ["d/x/5.csv"]);
        assert_eq!(paths(&store, "d/x/_temporary/*.csv"), ["d/x/_temporary/6.csv"]);
        assert_eq!(store.list_now("d/**.csv", None).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn a_path_without_files_names_the_nearest_thing_that_is_there() {
        let (_folder, store) = store(&["data/posts/a.csv"]);
        let hint = |pattern: &str| {
            let error = store.list_now(pattern, None).unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::NotFound, format!("no file matches `{pattern}`")));
            error.hint().unwrap().to_owned()
        };
        assert_eq!(hint("data/post/*.csv"), "`data` has no `post`; did you mean `posts`?");
        assert_eq!(hint("data/posts/*.ndjson"), "nothing in `data/posts` matches; it holds `a.csv`, for one");
        assert_eq!(hint("dta/posts"), "the current directory has no `dta`; did you mean `data`?");
        assert_eq!(hint("data/posts/a.csv/b"), "`data/posts/a.csv` is a file, not a folder");
        assert_eq!(hint("elsewhere"), "the current directory has no `elsewhere`");
    }

    #[test]
    fn a_file_url_is_its_path() {
        let (folder, store) = store(&["a b/1.csv", "a b/2.csv"]);
        let root = folder.path().to_str().unwrap();
        let expected = [format!("{root}/a b/1.csv"), format!("{root}/a b/2.csv")];
        assert_eq!(paths(&store, &format!("file://{root}/a%20b/?.csv")), expected);
        assert_eq!(paths(&store, &format!("{root}/a b/*.csv")), expected);
        assert_eq!(paths(&store, &format!("file://{root}/a b")), expected);
        assert_eq!(store.list_now("file://data/x", None).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(store.list_now(" ", None).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn a_folder_that_links_to_itself_is_read_once() {
        let (folder, store) = store(&["d/1.csv"]);
        std::os::unix::fs::symlink(folder.path().join("d"), folder.path().join("d/loop")).unwrap();
        assert_eq!(paths(&store, "d"), ["d/1.csv"]);
    }

    #[tokio::test]
    async fn a_file_that_changed_after_it_was_listed_is_not_read() {
        let (folder, store) = store(&["1.csv"]);
        let files = store.list("*.csv", None).await.unwrap();
        assert!(matches!(store.open(&files[0], &CancellationToken::new()).await.unwrap(), Input::File(_)));
        fs::write(folder.path().join("1.csv"), "longer").unwrap();
        let error = store.open(&files[0], &CancellationToken::new()).await.err().unwrap();
        assert_eq!(error.to_string(), "`1.csv` changed after it was listed");
        fs::remove_file(folder.path().join("1.csv")).unwrap();
        assert_eq!(store.open(&files[0], &CancellationToken::new()).await.err().unwrap().kind(), ErrorKind::Storage);
    }
}
