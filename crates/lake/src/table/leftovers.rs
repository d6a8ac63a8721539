//! What a killed process leaves on a local disk: files that were being written, under names that the store's listing hides.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result};

/// A half-written file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leftover {
    file: PathBuf,
    /// Below the table's folder.
    pub(crate) path: String,
    /// Its size.
    pub(crate) bytes: u64,
}

/// The half-written files below `folder` that nobody has written to since `older_than`.
///
/// # Errors
/// [`ErrorKind::Storage`] when the folder cannot be read.
pub(crate) async fn leftovers(root: &Path, folder: &Path, older_than: DateTime<Utc>) -> Result<Vec<Leftover>> {
    let (top, older_than) = (folder.to_path_buf(), SystemTime::from(older_than));
    let walk = move || {
        let mut found = vec![];
        collect(&top, &top, older_than, &mut found).map(|()| found)
    };
    blocking(root, walk).await
}

/// Deletes them.
///
/// # Errors
/// [`ErrorKind::Storage`] when one cannot be deleted.
pub(crate) async fn delete_leftovers(left: &[Leftover]) -> Result<()> {
    let files: Vec<PathBuf> = left.iter().map(|l| l.file.clone()).collect();
    let Some(first) = files.first().cloned() else { return Ok(()) };
    let delete = move || {
        files.iter().try_for_each(|file| match fs::remove_file(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        })
    };
    blocking(&first, delete).await
}

async fn blocking<T: Send + 'static>(place: &Path, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Storage, format!("cannot look after `{}`: {e}", place.display())).with_source(e)
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| failed(e.into()))?.map_err(|e| failed(e.into()))
}

fn collect(top: &Path, folder: &Path, older_than: SystemTime, found: &mut Vec<Leftover>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(top, &entry.path(), older_than, found)?;
        } else if kind.is_file() && is_staged(&entry.file_name().to_string_lossy()) {
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.modified()? < older_than {
                let file = entry.path();
                let path = file.strip_prefix(top).unwrap_or(&file).to_string_lossy().into_owned();
                found.push(Leftover { file, path, bytes: metadata.len() });
            }
        }
    }
    Ok(())
}

/// The store writes `name` as `name#1`, or the next number that is free, and renames it when it is complete.
fn is_staged(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn half_written_files_go_when_they_are_old_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let partition = folder.path().join("workspace_id=a#b");
        fs::create_dir(&partition).unwrap();
        for name in ["part-1.parquet#1", "part-2.parquet", "part#x.parquet", "00.json#12"] {
            fs::write(partition.join(name), "12345").unwrap();
        }
        let find = |older_than| leftovers(folder.path(), folder.path(), older_than);
        assert_eq!(find(Utc::now() - chrono::Duration::hours(1)).await.unwrap(), []);
        let mut left = find(Utc::now() + chrono::Duration::hours(1)).await.unwrap();
        left.sort_by(|a, b| a.path.cmp(&b.path));
        let names: Vec<_> = left.iter().map(|l| (l.path.as_str(), l.bytes)).collect();
        assert_eq!(names, [("workspace_id=a#b/00.json#12", 5), ("workspace_id=a#b/part-1.parquet#1", 5)]);
        delete_leftovers(&left).await.unwrap();
        assert_eq!(fs::read_dir(&partition).unwrap().count(), 2);
    }
}
