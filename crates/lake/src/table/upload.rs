//! Complete files on their way to the store: a few parts at a time, whatever the number of files.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use deltalake::kernel::Add;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind, Result};
use crate::storage::explain;
use crate::table::encode::EncodedFile;
use crate::table::waiting::{Content, Staged};

/// Bytes of a part. The last one may be smaller; all others are equal, as some stores want it.
const PART_BYTES: usize = 8 << 20;

/// Files that are being sent at a time.
const FILES: usize = 4;

/// Sends files in the background.
pub(super) struct Uploads {
    store: Arc<dyn ObjectStore>,
    /// One permit for each part in memory.
    parts: Arc<Semaphore>,
    running: JoinSet<Result<Add>>,
    done: Vec<Add>,
}

impl Uploads {
    /// At most `parts` parts are in memory at a time.
    pub(super) fn new(store: Arc<dyn ObjectStore>, parts: usize) -> Self {
        Self { store, parts: Arc::new(Semaphore::new(parts.max(1))), running: JoinSet::new(), done: vec![] }
    }

    /// Begins to send `file`, after another one has arrived when many are on their way.
    pub(super) async fn start(&mut self, file: EncodedFile) -> Result<()> {
        if matches!(file.content, Content::There) {
            self.done.push(file.add);
            return Ok(());
        }
        while self.running.len() >= FILES {
            self.next().await?;
        }
        self.running.spawn(send(self.store.clone(), self.parts.clone(), file));
        Ok(())
    }

    /// Waits for all files; gives their actions.
    pub(super) async fn finish(mut self) -> Result<Vec<Add>> {
        while !self.running.is_empty() {
            self.next().await?;
        }
        self.done.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(self.done)
    }

    async fn next(&mut self) -> Result<()> {
        if let Some(ended) = self.running.join_next().await {
            self.done.push(ended.map_err(broken)??);
        }
        Ok(())
    }
}

async fn send(store: Arc<dyn ObjectStore>, parts: Arc<Semaphore>, file: EncodedFile) -> Result<Add> {
    let EncodedFile { add, path, content } = file;
    match content {
        Content::There => {}
        Content::Staged(staged) => publish(staged).await?,
        Content::Memory(bytes) if bytes.len() <= PART_BYTES => {
            let _permit = parts.acquire().await.map_err(broken)?;
            store.put(&path, PutPayload::from(bytes)).await.map_err(refused)?;
        }
        Content::Memory(bytes) => send_in_parts(&*store, &parts, &path, std::io::Cursor::new(bytes)).await?,
        Content::File(file) => send_in_parts(&*store, &parts, &path, file).await?,
    }
    Ok(add)
}

async fn publish(staged: Staged) -> Result<()> {
    tokio::task::spawn_blocking(|| staged.publish()).await.map_err(broken)?.map_err(unpublished)
}

/// The error for a file that cannot be given its name.
pub(super) fn unpublished(source: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, "a file of the table cannot be written")
        .with_hint("see that the disk has room and may be written to; nothing was committed, and a rerun goes on from here")
        .with_source(source)
}

async fn send_in_parts(
    store: &dyn ObjectStore,
    parts: &Arc<Semaphore>,
    path: &Path,
    bytes: impl Read + Send + 'static,
) -> Result<()> {
    let mut upload = store.put_multipart(path).await.map_err(refused)?;
    let sent = send_parts(upload.as_mut(), parts, bytes).await;
    if sent.is_err() {
        // What cannot be given up is removed by the store's own rules for unfinished uploads.
        let _ = upload.abort().await;
    }
    sent
}

async fn send_parts(
    upload: &mut dyn MultipartUpload,
    parts: &Arc<Semaphore>,
    mut bytes: impl Read + Send + 'static,
) -> Result<()> {
    let mut sending: JoinSet<object_store::Result<()>> = JoinSet::new();
    loop {
        let permit = parts.clone().acquire_owned().await.map_err(broken)?;
        let (rest, part) = next_part(bytes).await?;
        bytes = rest;
        if part.is_empty() {
            break;
        }
        let sent = upload.put_part(PutPayload::from(part));
        sending.spawn(async move {
            let _permit = permit;
            sent.await
        });
        while let Some(ended) = sending.try_join_next() {
            ended.map_err(broken)?.map_err(refused)?;
        }
    }
    while let Some(ended) = sending.join_next().await {
        ended.map_err(broken)?.map_err(refused)?;
    }
    upload.complete().await.map(|_| ()).map_err(refused)
}

/// Reads the next part; it is empty at the end.
async fn next_part<R: Read + Send + 'static>(mut bytes: R) -> Result<(R, Bytes)> {
    let read = tokio::task::spawn_blocking(move || {
        let mut part = Vec::with_capacity(PART_BYTES);
        bytes.by_ref().take(PART_BYTES as u64).read_to_end(&mut part)?;
        Ok((bytes, Bytes::from(part)))
    });
    read.await.map_err(broken)?.map_err(unreadable)
}

fn refused(source: object_store::Error) -> Error {
    let error = explain("cannot write a file of the table", source);
    match error.hint() {
        Some(_) => error,
        None => error
            .with_hint("see that the store has room and may be written to; nothing was committed, and a rerun goes on from here"),
    }
}

fn unreadable(source: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, "a file in the folder for temporary files cannot be read").with_source(source)
}

fn broken(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "a file of the table was not written").with_source(source)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use object_store::local::LocalFileSystem;

    use super::*;

    fn file(name: &str, size: usize) -> EncodedFile {
        let content: Vec<u8> = (0..size).map(|i| u8::try_from(i * 7919 % 251).unwrap()).collect();
        let content = if size > 1 << 10 {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&content).unwrap();
            file.rewind().unwrap();
            Content::File(file)
        } else {
            Content::Memory(content)
        };
        let add = Add { path: name.to_string(), ..Default::default() };
        EncodedFile { add, path: Path::from(name), content }
    }

    #[tokio::test]
    async fn files_of_any_size_arrive_whole_with_a_single_part_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        let sizes = [0, 10, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES, 1, 2, 3];
        let mut uploads = Uploads::new(store.clone(), 1);
        for (i, size) in sizes.iter().enumerate() {
            uploads.start(file(&format!("f{i}"), *size)).await.unwrap();
        }
        assert_eq!(uploads.finish().await.unwrap().len(), sizes.len());
        for (i, size) in sizes.iter().enumerate() {
            let read = std::fs::read(folder.path().join(format!("f{i}"))).unwrap();
            assert_eq!(read.len(), *size);
            assert!(read.iter().enumerate().all(|(i, b)| usize::from(*b) == i * 7919 % 251), "f{i}");
        }
    }
}
