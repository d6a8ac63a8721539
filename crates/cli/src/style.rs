//! Colours. They only repeat what the words say, so a text without them says the same.

/// What a piece of text is to a reader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it comes.
    #[default]
    Plain,
    /// A heading or a name to look for.
    Strong,
    /// Went well.
    Good,
    /// Went wrong.
    Bad,
    /// Wants a look.
    Caution,
    /// Less important.
    Faint,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Strong => Some("1"),
            Tone::Good => Some("32"),
            Tone::Bad => Some("1;31"),
            Tone::Caution => Some("33"),
            Tone::Faint => Some("2"),
        }
    }
}

/// Whether one of the two streams shows colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Palette {
    enabled: bool,
}

impl Palette {
    /// A palette that paints, or one that does not.
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled }
    }

    /// Whether it paints.
    pub(crate) fn is_enabled(self) -> bool {
        self.enabled
    }

    /// `text` in its colour.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        match tone.code().filter(|_| self.enabled && !text.is_empty()) {
            Some(code) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_the_text_is_left_as_it_is() {
        assert_eq!(Palette::new(false).paint(Tone::Bad, "failed"), "failed");
        assert_eq!(Palette::new(true).paint(Tone::Bad, "failed"), "\u{1b}[1;31mfailed\u{1b}[0m");
        assert_eq!(Palette::new(true).paint(Tone::Plain, "x"), "x");
    }
}
