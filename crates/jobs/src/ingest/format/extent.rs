//! Where a JSON value ends in a stream, told by brackets and quotes alone, so that a broken value does not hide the next.

/// A scan that goes on where it stopped when more of the stream is at hand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    /// The bytes looked at.
    pub(super) at: usize,
    depth: usize,
    in_string: bool,
    bare: bool,
}

impl Extent {
    /// A scan of a value that starts with `first`. `bare` words (numbers, garbage) end at a comma, a bracket or a line's end.
    pub(super) fn new(first: u8) -> Self {
        Self {
            at: 1,
            depth: usize::from(matches!(first, b'{' | b'[')),
            in_string: first == b'"',
            bare: !matches!(first, b'{' | b'[' | b'"'),
        }
    }

    /// The value's length, or `None` when it does not end within `window`.
    pub(super) fn end(&mut self, window: &[u8]) -> Option<usize> {
        if self.bare {
            let rest = window.get(self.at..).unwrap_or_default();
            let found = rest.iter().position(|b| matches!(b, b',' | b']' | b'\n'));
            self.at = found.map_or(window.len(), |f| self.at + f);
            return found.map(|_| self.at);
        }
        loop {
            let rest = window.get(self.at..)?;
            match self.in_string {
                true => self.pass_string(rest),
                false => self.pass_structure(rest),
            }
            if self.depth == 0 && !self.in_string {
                return Some(self.at);
            }
            if self.at >= window.len() {
                return None;
            }
        }
    }

    fn pass_string(&mut self, rest: &[u8]) {
        match memchr::memchr2(b'"', b'\\', rest) {
            None => self.at += rest.len(),
            // What is escaped may lie beyond the window; the scan then goes on after it.
            Some(found) if rest[found] == b'\\' => self.at += found + 2,
            Some(found) => {
                self.at += found + 1;
                self.in_string = false;
            }
        }
    }

    fn pass_structure(&mut self, rest: &[u8]) {
        let Some(found) = rest.iter().position(|b| matches!(b, b'"' | b'{' | b'}' | b'[' | b']')) else {
            self.at += rest.len();
            return;
        };
        self.at += found + 1;
        match rest[found] {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            _ => self.depth -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_in_steps(text: &str, step: usize) -> Option<usize> {
        let bytes = text.as_bytes();
        let mut extent = Extent::new(bytes[0]);
        (1..=bytes.len().div_ceil(step)).find_map(|n| extent.end(&bytes[..(n * step).min(bytes.len())]))
    }

    #[test]
    fn a_value_ends_at_the_same_byte_however_the_stream_is_cut() {
        for (text, end) in [
            (r#"{"a":"}\"","b":[{}]} {}"#, Some(20)),
            (r#"[1,"]"],2"#, Some(7)),
            (r#""a\\" "#, Some(5)),
            ("12.5,", Some(4)),
            ("12.5", None),
            (r#"{"a":1]x"#, Some(7)),
            (r#"{"a":"\"#, None),
        ] {
            for step in 1..8 {
                assert_eq!(end_in_steps(text, step), end, "{text} in steps of {step}");
            }
        }
    }
}
