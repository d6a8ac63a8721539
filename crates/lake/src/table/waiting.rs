//! The encoded bytes of a file until it is complete: in memory while they are few, then on disk. In a lake on a local disk they are put where the
//! file will be, under a name that readers pass over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

/// Where bytes go that are too many for memory.
#[derive(Debug, Clone)]
pub(super) enum Overflow {
    /// A temporary file in a folder.
    Temporary(PathBuf),
    /// Beside the file that they become.
    Beside(PathBuf),
}

/// Takes bytes.
#[derive(Debug)]
pub(super) struct Waiting {
    limit: usize,
    overflow: Overflow,
    content: Content,
}

/// Bytes that are complete.
#[derive(Debug)]
pub(super) enum Content {
    Memory(Vec<u8>),
    File(File),
    Staged(Staged),
    /// They are where they belong.
    There,
}

/// A file under another name than its own. Dropped before it has got that, it is deleted.
#[derive(Debug)]
pub(super) struct Staged {
    file: Option<File>,
    target: PathBuf,
}

impl Staged {
    fn create(target: &Path) -> io::Result<Self> {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).open(staging(target))?;
        Ok(Self { file: Some(file), target: target.to_path_buf() })
    }

    /// Gives the file its name.
    pub(super) fn publish(mut self) -> io::Result<()> {
        fs::rename(staging(&self.target), &self.target)?;
        self.file = None;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // One that stays is found by `vacuum`.
            let _ = fs::remove_file(staging(&self.target));
        }
    }
}

/// The name that the local store gives to files it has not finished; it lists none of them.
fn staging(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push("#1");
    PathBuf::from(name)
}

impl Waiting {
    /// Holds up to `limit` bytes in memory.
    pub(super) fn new(limit: usize, overflow: Overflow) -> Self {
        Self { limit, overflow, content: Content::Memory(vec![]) }
    }

    /// What was written.
    pub(super) fn finish(self) -> io::Result<Content> {
        Ok(match self.content {
            Content::File(mut file) => {
                file.rewind()?;
                Content::File(file)
            }
            other => other,
        })
    }

    fn move_to_disk(&mut self) -> io::Result<()> {
        let Content::Memory(bytes) = &self.content else { return Ok(()) };
        let mut moved = match &self.overflow {
            Overflow::Temporary(folder) => Content::File(tempfile::tempfile_in(folder)?),
            Overflow::Beside(target) => Content::Staged(Staged::create(target)?),
        };
        match &mut moved {
            Content::File(file) | Content::Staged(Staged { file: Some(file), .. }) => file.write_all(bytes)?,
            _ => {}
        }
        self.content = moved;
        Ok(())
    }
}

impl Write for Waiting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Content::Memory(held) = &mut self.content {
            if held.len() + bytes.len() <= self.limit {
                held.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            self.move_to_disk()?;
        }
        match &mut self.content {
            Content::File(file) | Content::Staged(Staged { file: Some(file), .. }) => file.write(bytes),
            _ => Err(io::Error::other("the file is complete")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.content {
            Content::File(file) | Content::Staged(Staged { file: Some(file), .. }) => file.flush(),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn few_bytes_stay_in_memory_and_many_wait_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let overflow = Overflow::Temporary(folder.path().to_path_buf());
        let mut few = Waiting::new(8, overflow.clone());
        few.write_all(b"12345678").unwrap();
        assert!(matches!(few.finish().unwrap(), Content::Memory(bytes) if bytes == b"12345678"));
        let mut many = Waiting::new(8, overflow);
        many.write_all(b"1234567").unwrap();
        many.write_all(b"89").unwrap();
        let Content::File(mut file) = many.finish().unwrap() else { panic!("in memory") };
        let mut read = vec![];
        file.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"123456789");
    }

    #[test]
    fn a_staged_file_is_seen_when_it_is_published_and_leaves_nothing_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("workspace_id=a%20b").join("part.parquet");
        let entries = || fs::read_dir(target.parent().unwrap()).unwrap().count();
        let mut waiting = Waiting::new(0, Overflow::Beside(target.clone()));
        waiting.write_all(b"rows").unwrap();
        assert!(!target.exists() && entries() == 1);
        drop(waiting);
        assert_eq!(entries(), 0);
        let mut waiting = Waiting::new(0, Overflow::Beside(target.clone()));
        waiting.write_all(b"rows").unwrap();
        let Content::Staged(staged) = waiting.finish().unwrap() else { panic!("not staged") };
        staged.publish().unwrap();
        assert_eq!((fs::read(&target).unwrap(), entries()), (b"rows".to_vec(), 1));
    }
}
