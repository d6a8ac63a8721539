//! How the bytes of a file are packed, told by its first bytes.

use std::io::{BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use lake::{Error, ErrorKind, Result};

/// How the bytes of a file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878, one frame or several.
    Zstd,
}

/// The bytes of the stored file read so far, shared between the one that reads and the one that asks.
#[derive(Debug, Clone, Default)]
pub(super) struct StoredBytes(Arc<AtomicU64>);

impl StoredBytes {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted<R>(R, StoredBytes);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The plain bytes of `input`, and the count of stored bytes read. `packed` of `None` asks the first bytes.
///
/// # Errors
/// The first bytes cannot be read, or they tell a packing that is not supported.
pub(super) fn unpacked(
    mut input: Box<dyn Read + Send>,
    packed: Option<Compression>,
    name: &str,
) -> Result<(Box<dyn Read + Send>, StoredBytes)> {
    let head = head_of(&mut input).map_err(|e| unreadable(name, e))?;
    let packed = match packed {
        Some(packed) => packed,
        None => by_magic(&head, name)?,
    };
    let stored = StoredBytes::default();
    let whole = Counted(Cursor::new(head).chain(input), stored.clone());
    let plain: Box<dyn Read + Send> = match packed {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(128 << 10, whole))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(whole).map_err(|e| unreadable(name, e))?),
    };
    Ok((plain, stored))
}

fn head_of(input: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(16);
    input.take(16).read_to_end(&mut head)?;
    Ok(head)
}

fn unreadable(name: &str, error: std::io::Error) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(told) => return told,
        Err(error) => error,
    };
    Error::new(ErrorKind::Storage, format!("`{name}` cannot be read: {error}")).with_source(error)
}

fn by_magic(head: &[u8], name: &str) -> Result<Compression> {
    match head {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        _ => match unsupported(head) {
            Some(packing) => Err(Error::new(ErrorKind::Data, format!("`{name}` is packed with {packing}, which is not read"))
                .with_hint("unpack it, or pack it with gzip or zstd")),
            None => Ok(Compression::None),
        },
    }
}

fn unsupported(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        [b'P', b'K', 3, 4, ..] => Some("zip"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some("lz4"),
        [0xff, 0x06, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y', ..] => Some("snappy"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn plain(bytes: Vec<u8>, packed: Option<Compression>) -> Result<Vec<u8>> {
        let (mut reader, stored) = unpacked(Box::new(Cursor::new(bytes.clone())), packed, "f")?;
        let mut out = Vec::new();
        reader.read_to_end(&mut out).unwrap();
        assert_eq!(stored.get(), bytes.len() as u64);
        Ok(out)
    }

    #[test]
    fn the_first_bytes_tell_the_packing() {
        let text = b"hello".to_vec();
        assert_eq!(plain(text.clone(), None).unwrap(), text);
        assert_eq!(plain(gzip(&text), None).unwrap(), text);
        assert_eq!(plain(zstd::encode_all(&text[..], 1).unwrap(), None).unwrap(), text);
        assert_eq!(plain(Vec::new(), None).unwrap(), b"");
    }

    #[test]
    fn members_and_frames_after_each_other_are_one_stream() {
        let two = [gzip(b"one,"), gzip(b"two")].concat();
        assert_eq!(plain(two, None).unwrap(), b"one,two");
        let two = [zstd::encode_all(&b"one,"[..], 1).unwrap(), zstd::encode_all(&b"two"[..], 1).unwrap()].concat();
        assert_eq!(plain(two, None).unwrap(), b"one,two");
    }

    #[test]
    fn a_packing_that_is_not_read_is_named() {
        let error = plain(b"PK\x03\x04rest".to_vec(), None).unwrap_err();
        assert_eq!(error.to_string(), "`f` is packed with zip, which is not read");
        assert_eq!(plain(b"PK\x03\x04rest".to_vec(), Some(Compression::None)).unwrap(), b"PK\x03\x04rest");
        assert_eq!(plain(b"BZh is a name".to_vec(), None).unwrap(), b"BZh is a name");
    }
}
