//! A window onto a stream that grows until a whole record is in it.

use std::io::{ErrorKind as IoKind, Read};

use lake::{Error, ErrorKind, Result};

use super::compression::StoredBytes;

/// How much of a record that is too long is kept.
pub(super) const KEPT_BYTES: usize = 1 << 20;

const CHUNK: usize = 256 << 10;

/// The bytes of a file from the first one that is not yet consumed.
pub(super) struct Buffer {
    input: Box<dyn Read + Send>,
    data: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    stored: StoredBytes,
    name: String,
    limit: usize,
}

/// The next line of a buffer.
pub(super) enum Line {
    /// `length` bytes without the line's end; `consumed` bytes with it.
    Whole { length: usize, consumed: usize },
    /// A line over the limit, already consumed.
    Long(LongRecord),
}

/// What is kept of a record over the limit.
pub(super) struct LongRecord {
    pub(super) head: Vec<u8>,
    pub(super) length: u64,
}

impl Buffer {
    /// `limit` is the length of the longest record in bytes.
    pub(super) fn new(input: Box<dyn Read + Send>, stored: StoredBytes, name: &str, limit: usize) -> Self {
        Self { input, data: Vec::new(), start: 0, end: 0, ended: false, stored, name: name.to_owned(), limit }
    }

    /// The bytes at hand.
    pub(super) fn window(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Passes over `bytes` of the window.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.stored.get()
    }

    /// Widens the window, at least to twice its length while there is more; false at the end of the stream.
    pub(super) fn fill(&mut self) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.data.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let wanted = self.end + self.end.max(CHUNK);
        if self.data.len() < wanted {
            self.data.resize(wanted, 0);
        } else if self.data.len() / 8 > wanted {
            // One long record must not hold its memory to the end of the file.
            self.data.truncate(wanted);
            self.data.shrink_to_fit();
        }
        let before = self.end;
        while self.end < wanted && !self.ended {
            match self.input.read(&mut self.data[self.end..wanted]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == IoKind::Interrupted => {}
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        Ok(self.end > before)
    }

    fn unreadable(&self, error: std::io::Error) -> Error {
        // What a file elsewhere tells goes before a guess from the kind.
        let error = match error.downcast::<Error>() {
            Ok(told) => return told,
            Err(error) => error,
        };
        let at = self.stored.get();
        match error.kind() {
            IoKind::UnexpectedEof => Error::new(
                ErrorKind::Data,
                format!("`{}` is cut off: it ends in the middle of its packed data, after byte {at}", self.name),
            )
            .with_hint("deliver the file again; nothing of it was taken"),
            IoKind::InvalidData | IoKind::InvalidInput | IoKind::Other => {
                Error::new(ErrorKind::Data, format!("`{}` cannot be unpacked near byte {at}: {error}", self.name))
                    .with_hint("the file is damaged; deliver it again; nothing of it was taken")
            }
            _ => Error::new(ErrorKind::Storage, format!("`{}` cannot be read after byte {at}: {error}", self.name)),
        }
        .with_source(error)
    }

    /// Passes over a byte order mark and refuses text that is not UTF-8 by its mark, and Parquet.
    pub(super) fn begin_text(&mut self) -> Result<()> {
        self.fill()?;
        let refusal = match self.window() {
            [0xef, 0xbb, 0xbf, ..] => {
                self.consume(3);
                None
            }
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(("UTF-16 text", "convert it to UTF-8")),
            [b'P', b'A', b'R', b'1', ..] => Some(("a Parquet file", "use `format: parquet`")),
            _ => None,
        };
        match refusal {
            None => Ok(()),
            Some((what, hint)) => Err(Error::new(ErrorKind::Data, format!("`{}` is {what}", self.name)).with_hint(hint)),
        }
    }

    /// The next line, ended by `\n` or the end of the stream; `None` when nothing is left.
    pub(super) fn line(&mut self) -> Result<Option<Line>> {
        let mut seen = 0;
        loop {
            let window = self.window();
            if let Some(found) = memchr::memchr(b'\n', &window[seen..]) {
                let length = seen + found;
                return match length > self.limit {
                    true => self.long_line().map(|l| Some(Line::Long(l))),
                    false => Ok(Some(Line::Whole { length, consumed: length + 1 })),
                };
            }
            seen = window.len();
            if seen > self.limit {
                return self.long_line().map(|l| Some(Line::Long(l)));
            }
            if !self.fill()? {
                return Ok((seen > 0).then_some(Line::Whole { length: seen, consumed: seen }));
            }
        }
    }

    fn long_line(&mut self) -> Result<LongRecord> {
        let window = self.window();
        let first = memchr::memchr(b'\n', window).unwrap_or(window.len());
        let head = window[..first.min(KEPT_BYTES)].to_vec();
        let mut length = 0;
        loop {
            let window = self.window();
            if let Some(found) = memchr::memchr(b'\n', window) {
                self.consume(found + 1);
                return Ok(LongRecord { head, length: length + found as u64 });
            }
            let passed = window.len();
            length += passed as u64;
            self.consume(passed);
            if !self.fill()? {
                return Ok(LongRecord { head, length });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn buffer(bytes: &[u8], limit: usize) -> Buffer {
        Buffer::new(Box::new(Cursor::new(bytes.to_vec())), StoredBytes::default(), "f", limit)
    }

    #[test]
    fn lines_come_whole_whatever_their_length() {
        let long = "x".repeat(3 * CHUNK);
        let mut buffer = buffer(format!("a\n{long}\n\nend").as_bytes(), 64 << 20);
        let mut lengths = Vec::new();
        while let Some(Line::Whole { length, consumed }) = buffer.line().unwrap() {
            lengths.push(length);
            buffer.consume(consumed);
        }
        assert_eq!(lengths, [1, 3 * CHUNK, 0, 3]);
    }

    #[test]
    fn a_line_over_the_limit_is_passed_over_and_its_length_told() {
        for text in ["0123456789\nab", "0123456789"] {
            let mut buffer = buffer(text.as_bytes(), 4);
            let Some(Line::Long(long)) = buffer.line().unwrap() else { panic!("not long") };
            assert_eq!((long.head.as_slice(), long.length), (&b"0123456789"[..], 10));
            assert_eq!(buffer.line().unwrap().is_some(), text.contains('\n'));
        }
    }

    #[test]
    fn utf_16_and_parquet_are_named_and_a_mark_is_passed_over() {
        assert!(buffer(b"\xff\xfea\0", 9).begin_text().unwrap_err().to_string().contains("UTF-16"));
        assert_eq!(buffer(b"PAR1....", 9).begin_text().unwrap_err().hint(), Some("use `format: parquet`"));
        let mut marked = buffer(b"\xef\xbb\xbfa", 9);
        marked.begin_text().unwrap();
        assert_eq!(marked.window(), b"a");
    }
}
