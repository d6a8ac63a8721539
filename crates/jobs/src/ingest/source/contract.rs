//! The promises of [`SourceStore`], each as a test that every adapter runs against the real thing.
//!
//! An adapter's tests implement [`Subject`] and write `lake_jobs::source_contract!(subject)`, where the expression makes a
//! subject without files.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use async_trait::async_trait;
use lake::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use super::{SourceFile, SourceStore};
use crate::ingest::format::{Format, Input};

/// A place for source files that a test can fill.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store under test.
    fn store(&self) -> Arc<dyn SourceStore>;

    /// What stands before a name in a pattern and in [`SourceFile::path`], such as `s3://bucket/`.
    fn root(&self) -> String;

    /// Writes a file, whatever was there.
    async fn put(&self, name: &str, content: &[u8]);

    /// Takes a file away.
    async fn remove(&self, name: &str);
}

/// A promise that is not kept.
#[derive(Debug)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self(format!("{error:?}"))
    }
}

/// Whether a promise is kept.
pub type Kept = std::result::Result<(), Broken>;

/// Writes one `#[tokio::test]` for each promise of [`contract`](crate::ingest::source::contract); `$subject` makes a new
/// [`Subject`](crate::ingest::source::contract::Subject).
#[macro_export]
macro_rules! source_contract {
    ($subject:expr) => {
        $crate::source_contract!(@tests $subject;
            a_folder_is_all_files_below_with_a_known_ending
            a_file_is_itself_whatever_its_name
            a_pattern_matches_files_and_not_what_is_hidden
            two_stars_at_the_end_are_all_files_below
            a_pattern_that_cannot_be_is_refused
            a_name_may_be_any_text
            a_path_without_files_names_the_nearest_thing_that_is_there
            a_file_has_one_fingerprint_until_it_changes
            a_file_reads_as_it_was_written
            any_part_of_a_file_can_be_read
            a_file_that_changed_after_it_was_listed_is_not_read
            a_file_that_went_after_it_was_listed_is_not_read
        );
    };
    (@tests $subject:expr; $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() -> $crate::ingest::source::contract::Kept {
                $crate::ingest::source::contract::$promise(&$subject).await
            }
        )*
    };
}

fn same<T: PartialEq + fmt::Debug>(found: T, expected: T) -> Kept {
    if found == expected { Ok(()) } else { Err(Broken(format!("expected {expected:?}, found {found:?}"))) }
}

async fn filled(subject: &dyn Subject, names: &[&str]) {
    for name in names {
        subject.put(name, if name.contains("empty") { b"" } else { b"x" }).await;
    }
}

async fn files(subject: &dyn Subject, pattern: &str, format: Option<Format>) -> Result<Vec<SourceFile>> {
    subject.store().list(&format!("{}{pattern}", subject.root()), format).await
}

/// The names that `pattern` finds, in the order they come.
async fn names(subject: &dyn Subject, pattern: &str) -> std::result::Result<Vec<String>, Broken> {
    let found = files(subject, pattern, None).await?;
    let name = |file: SourceFile| file.path.strip_prefix(&subject.root()).map(str::to_owned).unwrap_or(file.path);
    Ok(found.into_iter().map(name).collect())
}

async fn finds(subject: &dyn Subject, pattern: &str, expected: &[&str]) -> Kept {
    match names(subject, pattern).await {
        Ok(found) if found == expected => Ok(()),
        Ok(found) => Err(Broken(format!("`{pattern}`: expected {expected:?}, found {found:?}"))),
        Err(error) => Err(Broken(format!("`{pattern}`: {error}"))),
    }
}

async fn refused(subject: &dyn Subject, pattern: &str, kind: ErrorKind) -> std::result::Result<Error, Broken> {
    match files(subject, pattern, None).await {
        Err(error) if error.kind() == kind => Ok(error),
        other => Err(Broken(format!("`{pattern}`: expected an error of kind {kind:?}, found {other:?}"))),
    }
}

/// The whole file, through whatever `open` gives.
async fn content(subject: &dyn Subject, file: &SourceFile) -> Result<Vec<u8>> {
    let input = subject.store().open(file, &CancellationToken::new()).await?;
    let read = move || {
        let mut reader: Box<dyn Read> = match input {
            Input::File(file) => Box::new(file),
            Input::Memory(bytes) => Box::new(std::io::Cursor::new(bytes)),
            Input::Ranged(file) => file.stream(),
            Input::Stream(stream) => stream,
        };
        let mut bytes = vec![];
        reader.read_to_end(&mut bytes).map(|_| bytes).map_err(told)
    };
    blocking(read).await
}

fn told(error: std::io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|e| Error::new(ErrorKind::Storage, "cannot be read").with_source(e))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let stopped = |e| Error::new(ErrorKind::Internal, "reading stopped").with_source(e);
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

/// Bytes that differ from place to place.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// A folder is read to its depths; hidden and empty files and unknown endings are left out.
pub async fn a_folder_is_all_files_below_with_a_known_ending(subject: &dyn Subject) -> Kept {
    let all = ["d/b.csv", "d/a/z.ndjson.gz", "d/c.txt", "d/.hidden.csv", "d/_temporary/0/x.csv", "d/_SUCCESS", "d/empty.csv"];
    filled(subject, &all).await;
    filled(subject, &["e.csv", "d/.git/x.csv", "dd/f.csv"]).await;
    finds(subject, "d", &["d/a/z.ndjson.gz", "d/b.csv"]).await?;
    finds(subject, "./d//", &["d/a/z.ndjson.gz", "d/b.csv"]).await?;
    finds(subject, "", &["d/a/z.ndjson.gz", "d/b.csv", "dd/f.csv", "e.csv"]).await?;
    same(files(subject, "d", Some(Format::Csv)).await?.len(), 1)?;
    let Err(error) = files(subject, "d", Some(Format::Parquet)).await else { return Err(Broken("a folder without".into())) };
    same(error.kind(), ErrorKind::NotFound)?;
    same(error.to_string(), format!("no file below `{}d` ends in `.parquet`", subject.root()))
}

/// Naming a file goes before every rule; an empty one is named, and is nothing to read.
pub async fn a_file_is_itself_whatever_its_name(subject: &dyn Subject) -> Kept {
    filled(subject, &["_x.txt", "a[1].csv", "a1.csv", "empty.csv", ".h.csv"]).await;
    for name in ["_x.txt", "a[1].csv", ".h.csv"] {
        finds(subject, name, &[name]).await?;
    }
    finds(subject, "./_x.txt", &["_x.txt"]).await?;
    finds(subject, "empty.csv", &[]).await?;
    finds(subject, "a[12].csv", &["a1.csv"]).await
}

/// Wildcards stop at `/` and do not find what is hidden, unless the pattern says so.
pub async fn a_pattern_matches_files_and_not_what_is_hidden(subject: &dyn Subject) -> Kept {
    filled(subject, &["d/1.csv", "d/2.csv", "d/.3.csv", "d/_4.csv", "d/x/5.csv", "d/x/_temporary/6.csv", "d/csv/7.txt"]).await;
    finds(subject, "d/*.csv", &["d/1.csv", "d/2.csv"]).await?;
    finds(subject, "d/?.csv", &["d/1.csv", "d/2.csv"]).await?;
    finds(subject, "d/[2-9].csv", &["d/2.csv"]).await?;
    finds(subject, "d/[!2-9].csv", &["d/1.csv"]).await?;
    finds(subject, "d/_*.csv", &["d/_4.csv"]).await?;
    finds(subject, "d/.*.csv", &["d/.3.csv"]).await?;
    finds(subject, "d/1*.csv", &["d/1.csv"]).await?;
    finds(subject, "d/**/*.csv", &["d/1.csv", "d/2.csv", "d/x/5.csv"]).await?;
    finds(subject, "**/*.csv", &["d/1.csv", "d/2.csv", "d/x/5.csv"]).await?;
    finds(subject, "*/x/*.csv", &["d/x/5.csv"]).await?;
    finds(subject, "d/x/_temporary/*.csv", &["d/x/_temporary/6.csv"]).await
}

/// Whatever their ending, as with any pattern.
pub async fn two_stars_at_the_end_are_all_files_below(subject: &dyn Subject) -> Kept {
    filled(subject, &["d/1.csv", "d/x/2.txt", "d/x/_3.csv", "e/4.csv"]).await;
    finds(subject, "d/**", &["d/1.csv", "d/x/2.txt"]).await
}

/// With the reason.
pub async fn a_pattern_that_cannot_be_is_refused(subject: &dyn Subject) -> Kept {
    filled(subject, &["d/1.csv"]).await;
    for pattern in ["d/**.csv", "d/***/x", "d/[a.csv"] {
        let error = refused(subject, pattern, ErrorKind::Config).await?;
        same(error.to_string().contains("is not a pattern"), true)?;
    }
    Ok(())
}

/// Names are what the store calls them: nothing is decoded.
pub async fn a_name_may_be_any_text(subject: &dyn Subject) -> Kept {
    let all = [
        "a b.csv",
        "a%20c.csv",
        "a+d.csv",
        "a#e.csv",
        "a&f=g.csv",
        "a'h\".csv",
        "a?i.csv",
        "aü🦀.csv",
        "a\\j.csv",
        "a;k:l@m.csv",
    ];
    for name in all {
        subject.put(&format!("names/{name}"), name.as_bytes()).await;
    }
    for name in all {
        let found = files(subject, &format!("names/{name}"), None).await?;
        let file = found.iter().find(|f| f.path == format!("{}names/{name}", subject.root()));
        let Some(file) = file else { return Err(Broken(format!("`{name}` was not found"))) };
        same(content(subject, file).await?, name.as_bytes().to_vec())?;
    }
    same(files(subject, "names/a*.csv", None).await?.len(), all.len())
}

/// A mistake in a path is told where it is.
pub async fn a_path_without_files_names_the_nearest_thing_that_is_there(subject: &dyn Subject) -> Kept {
    filled(subject, &["data/posts/a.csv"]).await;
    let root = subject.root();
    for (pattern, expected) in [
        ("data/post/*.csv", format!("`{root}data` has no `post`; did you mean `posts`?")),
        ("data/posts/*.ndjson", format!("nothing in `{root}data/posts` matches; it holds `a.csv`, for one")),
        ("data/posts/a.csv/b", format!("`{root}data/posts/a.csv` is a file, not a folder")),
    ] {
        let error = refused(subject, pattern, ErrorKind::NotFound).await?;
        same(error.to_string(), format!("no file matches `{root}{pattern}`"))?;
        same(error.hint(), Some(expected.as_str()))?;
    }
    let error = refused(subject, "dta/posts", ErrorKind::NotFound).await?;
    same(error.hint().is_some_and(|h| h.ends_with("has no `dta`; did you mean `data`?")), true)
}

/// By whatever pattern it is found.
pub async fn a_file_has_one_fingerprint_until_it_changes(subject: &dyn Subject) -> Kept {
    subject.put("d/1.csv", b"one").await;
    let by_name = files(subject, "d/1.csv", None).await?;
    same(by_name.len(), 1)?;
    same(files(subject, "d", None).await?, by_name.clone())?;
    same(files(subject, "d/*.csv", None).await?, by_name.clone())?;
    same(by_name[0].size, 3)?;
    subject.put("d/1.csv", b"longer").await;
    same(files(subject, "d", None).await?[0].fingerprint == by_name[0].fingerprint, false)
}

/// From the first byte to the last, small or large.
pub async fn a_file_reads_as_it_was_written(subject: &dyn Subject) -> Kept {
    for (name, length) in [("1.csv", 1), ("2.csv", 300_000), ("3.csv", (9 << 20) + 7)] {
        let bytes = noise(length);
        subject.put(name, &bytes).await;
        let listed = files(subject, name, None).await?;
        same(content(subject, &listed[0]).await? == bytes, true)?;
    }
    Ok(())
}

/// Where a store gives parts, each is what is asked for.
pub async fn any_part_of_a_file_can_be_read(subject: &dyn Subject) -> Kept {
    let bytes = noise((9 << 20) + 7);
    subject.put("1.csv", &bytes).await;
    let listed = files(subject, "1.csv", None).await?;
    let Input::Ranged(file) = subject.store().open(&listed[0], &CancellationToken::new()).await? else { return Ok(()) };
    let read = move || {
        let end = file.size();
        let ranges = [0..1, 5..9, end - 1..end, (4 << 20) - 1..(8 << 20) + 1, 0..end];
        ranges.into_iter().map(|range| Ok((range.clone(), file.read(range)?))).collect::<Result<Vec<_>>>()
    };
    for (range, part) in blocking(read).await? {
        same(part == bytes[range.start as usize..range.end as usize], true)?;
    }
    Ok(())
}

/// Even when its length is the same.
pub async fn a_file_that_changed_after_it_was_listed_is_not_read(subject: &dyn Subject) -> Kept {
    subject.put("1.csv", b"one").await;
    let listed = files(subject, "*.csv", None).await?;
    subject.put("1.csv", b"longer").await;
    let Err(error) = content(subject, &listed[0]).await else { return Err(Broken("another file was read".into())) };
    same((error.kind(), error.to_string()), (ErrorKind::Storage, format!("`{}` changed after it was listed", listed[0].path)))
}

/// That is an error, not a file without rows.
pub async fn a_file_that_went_after_it_was_listed_is_not_read(subject: &dyn Subject) -> Kept {
    subject.put("1.csv", b"one").await;
    let listed = files(subject, "*.csv", None).await?;
    subject.remove("1.csv").await;
    let Err(error) = content(subject, &listed[0]).await else { return Err(Broken("a file that went was read".into())) };
    same(error.kind(), ErrorKind::Storage)
}
