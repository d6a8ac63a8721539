//! JSON documents: an array of objects, one object, or several of either after each other. Streamed element by element.

use lake::Result;

use super::buffer::{Buffer, KEPT_BYTES, LongRecord};
use super::extent::Extent;
use super::rows::RowWriter;
use super::{BatchReader, RawBatch, ReadOptions};

pub(super) struct JsonReader {
    buffer: Buffer,
    rows: RowWriter,
    element: i64,
    in_array: bool,
}

enum Element {
    /// This many bytes of the window.
    Whole(usize),
    /// The stream ends within an element of this many bytes.
    Cut(usize),
    Long(LongRecord),
}

impl JsonReader {
    pub(super) fn new(mut buffer: Buffer, options: &ReadOptions) -> Result<Self> {
        buffer.begin_text()?;
        Ok(Self { buffer, rows: RowWriter::new(options), element: 0, in_array: false })
    }

    /// Passes over what stands between elements; the first byte of the next one, or `None` at the end of the stream.
    fn approach(&mut self) -> Result<Option<u8>> {
        loop {
            let window = self.buffer.window();
            let blank = window.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(window.len());
            let next = window.get(blank).copied();
            self.buffer.consume(blank);
            match (next, self.in_array) {
                (None, _) => {
                    if !self.buffer.fill()? {
                        return Ok(None);
                    }
                }
                (Some(b'['), false) => self.turn(true),
                (Some(b']'), true) => self.turn(false),
                (Some(b','), true) => self.buffer.consume(1),
                (Some(byte), _) => return Ok(Some(byte)),
            }
        }
    }

    fn turn(&mut self, in_array: bool) {
        self.in_array = in_array;
        self.buffer.consume(1);
    }

    fn element(&mut self, first: u8) -> Result<Element> {
        let mut extent = Extent::new(first);
        let mut long: Option<LongRecord> = None;
        loop {
            let ended = extent.end(self.buffer.window());
            if extent.at > self.buffer.limit() || long.is_some() {
                self.pass(&mut extent, &mut long);
            }
            match (ended, long.take()) {
                (Some(_), Some(record)) => return Ok(Element::Long(record)),
                (Some(length), None) => return Ok(Element::Whole(length)),
                (None, record) => long = record,
            }
            if !self.buffer.fill()? {
                return Ok(match long {
                    Some(record) => Element::Long(record),
                    None => Element::Cut(self.buffer.window().len()),
                });
            }
        }
    }

    /// Lets go of the part of an element over the limit that was looked at.
    fn pass(&mut self, extent: &mut Extent, long: &mut Option<LongRecord>) {
        let window = self.buffer.window();
        let passed = extent.at.min(window.len());
        let record = long.get_or_insert_with(|| LongRecord { head: window[..passed.min(KEPT_BYTES)].to_vec(), length: 0 });
        record.length += passed as u64;
        self.buffer.consume(passed);
        extent.at -= passed;
    }

    fn take(&mut self, first: u8) -> Result<()> {
        let element = self.element(first)?;
        self.element += 1;
        match element {
            Element::Long(record) => self.rows.too_long(self.element, &record, self.buffer.limit()),
            Element::Whole(length) | Element::Cut(length) => {
                self.rows.json(self.element, self.buffer.window()[..length].trim_ascii_end());
                self.buffer.consume(length);
            }
        }
        Ok(())
    }
}

impl BatchReader for JsonReader {
    fn next_batch(&mut self) -> Result<Option<RawBatch>> {
        while !self.rows.is_full() {
            match self.approach()? {
                Some(first) => self.take(first)?,
                None => {
                    if std::mem::take(&mut self.in_array) {
                        self.element += 1;
                        self.rows.broken(self.element, "the array has no end: the file may be cut off", b"");
                    }
                    break;
                }
            }
        }
        self.rows.has_rows().then(|| self.rows.finish()).transpose()
    }

    fn bytes_read(&self) -> u64 {
        self.buffer.bytes_read()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Read, read, read_with};
    use super::super::{Format, ReadOptions};

    fn json(text: &str) -> Read {
        read(Format::Json, text.as_bytes())
    }

    const TWO: [&str; 2] = [r#"{"a":"1"}"#, r#"{"a":"2"}"#];

    #[test]
    fn an_array_one_object_or_several_are_the_same_rows() {
        for text in [
            "[{\"a\":1},{\"a\":2}]",
            "\u{feff} [\n  {\n \"a\": 1 },\n  {\"a\":2}\n]\n",
            "{\"a\":1}{\"a\":2}",
            "{\"a\":1}\n{\"a\":2}\n",
            "[{\"a\":1}][{\"a\":2}]",
            "[{\"a\":1}\n{\"a\":2},]",
        ] {
            let read = json(text);
            assert_eq!(
                (read.rows.as_slice(), read.numbers.as_slice()),
                (TWO.map(str::to_owned).as_slice(), &[1, 2][..]),
                "{text}"
            );
            assert_eq!(read.rescued, [None, None], "{text}");
        }
        assert!(json("").rows.is_empty());
        assert!(json(" [ ] ").rows.is_empty());
    }

    #[test]
    fn a_broken_element_does_not_hide_the_next() {
        let read = json("[{\"a\":1}, {\"a\" 5}, 7, \"x,]\", nonsense, {\"a\":1], {\"a\":2}]");
        assert_eq!(read.numbers, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((read.rows[0].as_str(), read.rows[6].as_str()), (TWO[0], TWO[1]));
        let reasons: Vec<_> = read.rescued.iter().map(|r| r.as_deref().unwrap_or("fits")).collect();
        assert_eq!(
            reasons,
            [
                "fits",
                r#"{"reason":"not JSON: expected `:`, at byte 6","record":"{\"a\" 5}"}"#,
                r#"{"reason":"not an object","record":"7"}"#,
                r#"{"reason":"not an object","record":"\"x,]\""}"#,
                r#"{"reason":"not JSON: expected a value, at byte 1","record":"nonsense"}"#,
                r#"{"reason":"not JSON: expected `,` or the closing bracket, at byte 7","record":"{\"a\":1]"}"#,
                "fits",
            ]
        );
    }

    #[test]
    fn an_array_that_is_cut_off_is_told() {
        let between = json("[{\"a\":1},{\"a\":2}");
        assert_eq!(
            between.rescued[2].as_deref(),
            Some(r#"{"reason":"the array has no end: the file may be cut off","record":""}"#)
        );
        let within = json("[{\"a\":1},{\"a\":");
        assert!(within.rescued[1].as_deref().unwrap().contains("the text ends where a value was expected"));
        assert_eq!(within.numbers, [1, 2, 3]);
    }

    #[test]
    fn an_element_over_the_limit_leaves_its_start_and_its_length() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(600_000));
        let options = ReadOptions { record_bytes: 1000, ..ReadOptions::new(Format::Json) };
        for text in [format!("[{long},{{\"a\":2}}]"), format!("{long}{{\"a\":2}}")] {
            let read = read_with(options.clone(), text.as_bytes());
            assert_eq!(read.rows, [r#"{"a":null}"#, TWO[1]]);
            assert!(read.rescued[0].as_deref().unwrap().contains(r#""length":600008,"#));
        }
    }

    #[test]
    fn an_element_longer_than_the_window_comes_whole() {
        let long = "x".repeat(1_000_000);
        let read = json(&format!("[{{\"a\":\"{long}\"}},{{\"a\":2}}]"));
        assert_eq!(read.rows, [format!("{{\"a\":\"{long}\"}}").as_str(), TWO[1]]);
    }
}
