//! The bytes of one object, in parts, from asynchronous requests to readers that block.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use lake::{Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, GetRange};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::error::{is_another_now, may_pass};
use super::{Bucket, whole_seconds};
use crate::ingest::format::RangedFile;
use crate::ingest::source::{SourceFile, changed};

/// Bytes of one request. The first ones are smaller, since many readers only look at the start.
const PARTS: [u64; 3] = [256 << 10, 1 << 20, 4 << 20];

/// Requests on their way at a time. Memory for one file is a part for each, one that waits and one that is read.
const IN_FLIGHT: usize = 2;

/// How often in a row a part is asked for again without a byte coming.
const ATTEMPTS: u32 = 6;

/// An object as a file of which any part can be asked for.
pub(super) struct RemoteFile {
    object: Arc<Object>,
    stop: CancellationToken,
    runtime: Handle,
}

/// The object that was listed, and no other.
struct Object {
    bucket: Arc<Bucket>,
    location: Path,
    file: SourceFile,
}

/// Why a request came to nothing.
enum Failure {
    /// It is of no use to ask again.
    Final(Error),
    /// The connection broke, or the store was not well.
    Passing(Option<StoreError>),
}

impl RemoteFile {
    /// Asks for nothing yet. To be called on the asynchronous runtime.
    pub(super) fn new(bucket: Arc<Bucket>, location: Path, file: SourceFile, stop: CancellationToken) -> Self {
        Self { object: Arc::new(Object { bucket, location, file }), stop, runtime: Handle::current() }
    }
}

impl RangedFile for RemoteFile {
    fn size(&self) -> u64 {
        self.object.file.size
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let mut whole = BytesMut::with_capacity(usize::try_from(range.end.saturating_sub(range.start)).unwrap_or_default());
        let gather = async {
            let mut parts = std::pin::pin!(parts(self.object.clone(), even(range)));
            while let Some(part) = parts.try_next().await? {
                whole.extend_from_slice(&part);
            }
            Ok(())
        };
        self.runtime.block_on(async {
            tokio::select! {
                () = self.stop.cancelled() => Err(stopped()),
                gathered = gather => gathered,
            }
        })?;
        Ok(whole.freeze())
    }

    fn stream(&self) -> Box<dyn Read + Send> {
        let (sender, receiver) = mpsc::channel(1);
        let (object, stop) = (self.object.clone(), self.stop.clone());
        let left = object.file.size;
        self.runtime.spawn(async move {
            let mut parts = std::pin::pin!(parts(object, growing(left)));
            loop {
                let next = tokio::select! {
                    biased;
                    () = stop.cancelled() => Some(Err(stopped())),
                    () = sender.closed() => return,
                    next = parts.next() => next,
                };
                let Some(next) = next else { return };
                let failed = next.is_err();
                if sender.send(next).await.is_err() || failed {
                    return;
                }
            }
        });
        Box::new(Parts { receiver, part: Bytes::new(), left })
    }
}

/// The parts of an object in order, some of them asked for ahead.
fn parts(object: Arc<Object>, ranges: impl Iterator<Item = Range<u64>>) -> impl futures::Stream<Item = Result<Bytes>> {
    let fetch = move |range| {
        let object = object.clone();
        async move { object.fetch(range).await }
    };
    futures::stream::iter(ranges).map(fetch).buffered(IN_FLIGHT)
}

fn growing(size: u64) -> impl Iterator<Item = Range<u64>> {
    let mut start = 0;
    let lengths = PARTS.into_iter().chain(std::iter::repeat(PARTS[PARTS.len() - 1]));
    lengths.map_while(move |length| {
        let range = start..(start + length).min(size);
        start = range.end;
        (!range.is_empty()).then_some(range)
    })
}

fn even(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let length = PARTS[PARTS.len() - 1];
    let end = range.end;
    (range.start..end).step_by(usize::try_from(length).unwrap_or(usize::MAX)).map(move |start| start..(start + length).min(end))
}

impl Object {
    /// The bytes of `range`. What has come before a connection broke is kept, and the rest is asked for.
    async fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        let mut got = BytesMut::with_capacity(usize::try_from(range.end - range.start).unwrap_or_default());
        let mut failures = 0;
        loop {
            let before = got.len();
            let failure = match self.fetch_into(&mut got, &range).await {
                Ok(()) if got.len() as u64 == range.end - range.start => return Ok(got.freeze()),
                // An answer can end early without the connection telling.
                Ok(()) => None,
                Err(Failure::Passing(error)) => error,
                Err(Failure::Final(error)) => return Err(error),
            };
            failures = if got.len() > before { 1 } else { failures + 1 };
            if failures > ATTEMPTS {
                return Err(self.broken(range.start + got.len() as u64, failure));
            }
            tracing::debug!(source = %self.file.path, at = range.start + got.len() as u64, "reading goes on where it broke off");
            tokio::time::sleep(pause(failures)).await;
        }
    }

    async fn fetch_into(&self, got: &mut BytesMut, range: &Range<u64>) -> Result<(), Failure> {
        let rest = range.start + got.len() as u64..range.end;
        let options = GetOptions {
            range: Some(GetRange::Bounded(rest.clone())),
            if_match: self.file.etag.clone(),
            ..GetOptions::default()
        };
        let answer = self.bucket.store.get_opts(&self.location, options).await.map_err(|e| self.failure(e))?;
        let meta = &answer.meta;
        let same = meta.size == self.file.size
            && match &self.file.etag {
                Some(etag) => meta.e_tag.as_ref() == Some(etag),
                None => whole_seconds(meta.last_modified) == self.file.modified,
            };
        if !same {
            return Err(Failure::Final(changed(&self.file.path)));
        }
        if answer.range != rest {
            return Err(Failure::Passing(None));
        }
        let mut body = answer.into_stream();
        while let Some(bytes) = body.try_next().await.map_err(|e| self.failure(e))? {
            let room = usize::try_from(range.end - range.start).unwrap_or_default() - got.len();
            got.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        Ok(())
    }

    fn failure(&self, error: StoreError) -> Failure {
        if is_another_now(&error) {
            return Failure::Final(changed(&self.file.path).with_source(error));
        }
        match may_pass(&error) {
            true => Failure::Passing(Some(error)),
            false => Failure::Final(self.bucket.error(&format!("`{}` cannot be read", self.file.path), error)),
        }
    }

    fn broken(&self, at: u64, error: Option<StoreError>) -> Error {
        let what = format!("`{}` cannot be read after byte {at}", self.file.path);
        match error {
            Some(error) => self.bucket.error(&what, error),
            None => Error::new(ErrorKind::Storage, format!("{what}: the answers of the store end too early"))
                .with_hint("look at what stands between this machine and the store, then run again"),
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "reading a source was stopped")
}

/// Up to 100 ms times two to the power of the failures, and not less than half of it.
fn pause(failures: u32) -> Duration {
    let most = 100u64 << failures.min(5);
    let random = uuid::Uuid::now_v7().as_u128() as u64;
    Duration::from_millis(most / 2 + random % (most / 2))
}

/// Reads the parts as they come.
struct Parts {
    receiver: mpsc::Receiver<Result<Bytes>>,
    part: Bytes,
    left: u64,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        if self.part.is_empty() {
            self.part = match self.receiver.blocking_recv() {
                Some(part) => part.map_err(std::io::Error::other)?,
                None => return Err(std::io::Error::other(stopped())),
            };
        }
        let length = buffer.len().min(self.part.len());
        buffer[..length].copy_from_slice(&self.part.split_to(length));
        self.left -= length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_file_cover_it_and_start_small() {
        for size in [1, 100, 256 << 10, (256 << 10) + 1, 50 << 20] {
            let all: Vec<_> = growing(size).collect();
            assert!(all.windows(2).all(|w| w[0].end == w[1].start));
            assert_eq!((all[0].start, all[all.len() - 1].end), (0, size));
            assert!(all[0].end <= PARTS[0]);
        }
        assert_eq!(growing(0).count(), 0);
        assert_eq!(even(10..(4 << 20) + 11).collect::<Vec<_>>(), [10..(4 << 20) + 10, (4 << 20) + 10..(4 << 20) + 11]);
    }
}
