//! Tokens of a text, by a `tokenizer.json`.

use std::path::Path;

use tokenizers::Tokenizer;

use crate::error::{Error, ErrorKind, Result};

/// A tokenizer as its model has it, and what its file says.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    /// Tokens that every text gets beside its own.
    added: usize,
}

impl Tokens {
    /// The tokenizer that `bytes` of the file at `path` describe. Cutting and padding that the file asks for are left out.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a file that is no tokenizer.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let unusable = |why: String| {
            Error::new(ErrorKind::Config, format!("`{}` is not a tokenizer that can be used: {why}", path.display()))
                .with_hint("name the `tokenizer.json` of the model, as Hugging Face `tokenizers` writes it")
        };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| unusable(e.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| unusable(e.to_string()))?;
        let added = tokenizer.encode_fast("", true).map_err(|e| unusable(e.to_string()))?.len();
        Ok(Self { tokenizer, added })
    }

    /// Tokens of `text`, with those that every text gets; `None` when the tokenizer cannot take it.
    pub(super) fn count(&self, text: &str) -> Option<usize> {
        self.tokenizer.encode_fast(text, true).ok().map(|e| e.len())
    }

    /// As much of the beginning of `text` as has at most `most` tokens; `None` when the tokenizer cannot take it.
    pub(super) fn cut<'t>(&self, text: &'t str, most: usize) -> Option<&'t str> {
        let own = most.saturating_sub(self.added);
        let encoding = self.tokenizer.encode(text, false).ok()?;
        let ends: Vec<usize> = encoding.get_offsets().iter().map(|(_, end)| *end).collect();
        if ends.len() <= own {
            return Some(text);
        }
        // Tokens of a beginning can be others, and more, than at the beginning of the tokens.
        (0..=own).rev().find_map(|kept| {
            let end = kept.checked_sub(1).map_or(0, |last| ends[last]);
            let cut = &text[..text.floor_char_boundary(end)];
            (self.count(cut)? <= most).then_some(cut)
        })
    }

    /// Tokens that every text gets beside its own.
    pub(super) fn added(&self) -> usize {
        self.added
    }

    /// The tokenizer itself.
    pub(super) fn inner(&self) -> &Tokenizer {
        &self.tokenizer
    }
}
