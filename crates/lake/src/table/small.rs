//! Files of few rows each, as a feed of very many workspaces makes them: many are encoded at a time, and on a local disk put in their places at once.

use arrow::array::RecordBatch;
use object_store::path::Path;
use parquet::file::properties::WriterProperties;
use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind, Result};
use crate::table::encode::{EncodedFile, OpenFile};
use crate::table::statistics::StatsColumns;
use crate::table::upload::unpublished;
use crate::table::waiting::{Content, Waiting};

/// Files of more bytes of rows gain nothing here.
pub(super) const SMALL: usize = 256 << 10;

/// Files that one task makes.
const FILES: usize = 32;

/// A file to make.
pub(super) struct SmallFile {
    pub(super) path: Path,
    pub(super) workspace: String,
    /// Without the workspace's column, all of one schema.
    pub(super) rows: Vec<RecordBatch>,
    pub(super) waiting: Waiting,
}

/// Makes files on several threads.
pub(super) struct SmallFiles {
    properties: WriterProperties,
    stats: StatsColumns,
    row_group: usize,
    threads: usize,
    next: Vec<SmallFile>,
    running: JoinSet<Result<Vec<EncodedFile>>>,
}

impl SmallFiles {
    pub(super) fn new(properties: WriterProperties, stats: StatsColumns, row_group: usize, threads: usize) -> Self {
        Self { properties, stats, row_group, threads, next: vec![], running: JoinSet::new() }
    }

    /// Takes a file; gives those that are complete in the meantime.
    pub(super) async fn add(&mut self, file: SmallFile) -> Result<Vec<EncodedFile>> {
        self.next.push(file);
        if self.next.len() < FILES {
            return Ok(vec![]);
        }
        self.start();
        if self.running.len() > self.threads { self.ended().await } else { Ok(vec![]) }
    }

    /// The rest of the files.
    pub(super) async fn finish(mut self) -> Result<Vec<EncodedFile>> {
        self.start();
        let mut made = vec![];
        while !self.running.is_empty() {
            made.extend(self.ended().await?);
        }
        Ok(made)
    }

    fn start(&mut self) {
        let (files, properties) = (std::mem::take(&mut self.next), self.properties.clone());
        let (stats, row_group) = (self.stats.clone(), self.row_group);
        let make = move || files.into_iter().map(|file| file.make(&properties, &stats, row_group)).collect();
        self.running.spawn_blocking(make);
    }

    async fn ended(&mut self) -> Result<Vec<EncodedFile>> {
        let broken = |e| Error::new(ErrorKind::Internal, "a task that encodes has ended early").with_source(e);
        self.running.join_next().await.map_or(Ok(vec![]), |made| made.map_err(broken)?)
    }
}

impl SmallFile {
    fn make(self, properties: &WriterProperties, stats: &StatsColumns, row_group: usize) -> Result<EncodedFile> {
        let Some(schema) = self.rows.first().map(RecordBatch::schema) else {
            return Err(Error::new(ErrorKind::Internal, "a file to write has no rows"));
        };
        let mut file = OpenFile::create(self.path, &self.workspace, &schema, properties.clone(), self.waiting, row_group)?;
        for step in self.rows.iter().flat_map(OpenFile::steps) {
            file.write(&step, 1)?;
        }
        let file = file.finish(stats)?;
        let content = match file.content {
            Content::Staged(staged) => staged.publish().map(|()| Content::There).map_err(unpublished)?,
            content => content,
        };
        Ok(EncodedFile { content, ..file })
    }
}
