//! Cuts long texts into chunks, so that each gets a vector of its own.

use unicode_segmentation::UnicodeSegmentation;

use super::Embedder;
use crate::error::{Error, ErrorKind, Result};

/// Changes whenever the same text is cut in other places than before.
pub const VERSION: u32 = 1;

/// What the size of a chunk is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChunkBy {
    /// Characters as people see them (grapheme clusters). A chunk ends at white space where that makes it less than a quarter shorter.
    Characters,
    /// Sentences, by the rules of Unicode.
    Sentences,
    /// Tokens as the embedder counts them, with those that it adds to every text. A chunk ends at the end of a word.
    Tokens,
}

/// How texts are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunking {
    /// What is counted.
    pub by: ChunkBy,
    /// The most that a chunk holds. White space at its end does not count, save in tokens; a single word of more tokens stands alone.
    pub size: usize,
    /// How much of its end a chunk shares with the next, at most.
    pub overlap: usize,
}

impl Chunking {
    /// Whether chunks can be made so.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a size of 0, and for an overlap that is not smaller than the size.
    pub fn validate(&self) -> Result<()> {
        if self.size == 0 {
            return Err(Error::new(ErrorKind::Config, "the `size` of chunks is 0").with_hint("give 1 or more"));
        }
        if self.overlap >= self.size {
            let message = format!("chunks of `size` {} cannot have an `overlap` of {}", self.size, self.overlap);
            return Err(
                Error::new(ErrorKind::Config, message).with_hint("an overlap is smaller than the size; a tenth of it is usual")
            );
        }
        Ok(())
    }
}

/// The chunks of `text`, in order; all of it as one where there is no `chunking`. None is only white space, and so a text of white space
/// has none. Without an overlap they are the whole text, one after the other.
///
/// # Errors
/// [`ErrorKind::Config`] for what [`Chunking::validate`] refuses, and for tokens that the embedder does not count.
pub fn chunks<'t>(text: &'t str, chunking: Option<&Chunking>, embedder: &dyn Embedder) -> Result<Vec<&'t str>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let Some(chunking) = chunking else { return Ok(vec![text]) };
    chunking.validate()?;
    Ok(match chunking.by {
        ChunkBy::Characters => characters(text, chunking),
        ChunkBy::Sentences => sentences(text, chunking),
        ChunkBy::Tokens => tokens(text, chunking, embedder)?,
    })
}

fn characters<'t>(text: &'t str, chunking: &Chunking) -> Vec<&'t str> {
    let (starts, white): (Vec<usize>, Vec<bool>) = text.grapheme_indices(true).map(|(at, g)| (at, is_white(g))).unzip();
    let count = starts.len();
    let place = |n: usize| starts.get(n).copied().unwrap_or(text.len());
    let is_white = |n: usize| white.get(n).copied().unwrap_or(false);
    let past_white = |n: usize| (n..count).find(|n| !is_white(*n)).unwrap_or(count);
    let mut chunks = Vec::new();
    let (mut from, mut done) = (0, 0);
    while done < count {
        let counted = if done == 0 { past_white(0) } else { from };
        let limit = counted.saturating_add(chunking.size);
        let end = if limit >= count {
            count
        } else {
            let least = done.max(limit - chunking.size.div_ceil(4).saturating_sub(1));
            let border = (least..=limit).rev().find(|n| *n > done && (is_white(*n) || is_white(*n - 1)));
            past_white(border.unwrap_or(limit))
        };
        chunks.push(&text[place(from)..place(end)]);
        from = end.saturating_sub(chunking.overlap).max(from + 1);
        done = end;
    }
    chunks
}

fn sentences<'t>(text: &'t str, chunking: &Chunking) -> Vec<&'t str> {
    let ends = ends(text, text.split_sentence_bounds());
    let mut chunks = Vec::new();
    let (mut from, mut done) = (0_usize, 0);
    while done < ends.len() {
        done = from.saturating_add(chunking.size).min(ends.len());
        chunks.push(&text[start(&ends, from)..ends[done - 1]]);
        from = done - chunking.overlap.min(done);
    }
    chunks
}

fn tokens<'t>(text: &'t str, chunking: &Chunking, embedder: &dyn Embedder) -> Result<Vec<&'t str>> {
    let count = |text: &str| embedder.tokens(text).ok_or_else(|| uncounted(embedder));
    let added = count("")?;
    let ends = ends(text, text.split_word_bounds());
    let slice = |from: usize, to: usize| &text[start(&ends, from)..start(&ends, to)];
    let fits = |from: usize, to: usize| Ok::<bool, Error>(count(slice(from, to))? <= chunking.size);
    let mut chunks = Vec::new();
    let (mut from, mut done, mut guess) = (0, 0, 1);
    while done < ends.len() {
        while from < done && !fits(from, done + 1)? {
            from += 1;
        }
        let end = furthest(done + 1, ends.len(), guess, |to| fits(from, to))?;
        chunks.push(slice(from, end));
        guess = end - done;
        let shared = |from: usize| Ok::<bool, Error>(count(slice(from, end))?.saturating_sub(added) <= chunking.overlap);
        (from, done) = (end, end);
        while chunking.overlap > 0 && from > 0 && shared(from - 1)? {
            from -= 1;
        }
    }
    Ok(chunks)
}

/// The greatest of `least..=most` that `fits`, where all below one that fits do; `least` is not asked. The search begins `guess` further.
fn furthest(least: usize, most: usize, guess: usize, fits: impl Fn(usize) -> Result<bool>) -> Result<usize> {
    let (mut good, mut step) = (least, guess.max(1));
    let mut bad = most + 1;
    while good < most && bad > most {
        let next = good.saturating_add(step).min(most);
        if fits(next)? {
            (good, step) = (next, step.saturating_mul(2));
        } else {
            bad = next;
        }
    }
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(good)
}

fn uncounted(embedder: &dyn Embedder) -> Error {
    Error::new(ErrorKind::Config, format!("chunks by tokens: the embedder `{}` does not count tokens", embedder.name()))
        .with_hint("name the model's `tokenizer.json` in `LLM_TOKENIZER`, or cut by characters or sentences")
}

/// Where each of `parts` ends. White space goes with what is before it, and at the beginning with what is behind it.
fn ends<'t>(text: &'t str, parts: impl Iterator<Item = &'t str>) -> Vec<usize> {
    let mut ends: Vec<usize> = Vec::new();
    let (mut at, mut has_words) = (0, false);
    for part in parts {
        at += part.len();
        let white = is_white(part);
        match ends.last_mut() {
            Some(last) if white || !has_words => *last = at,
            _ => ends.push(at),
        }
        has_words |= !white;
    }
    debug_assert_eq!(ends.last().copied().unwrap_or_default(), text.len());
    ends
}

fn start(ends: &[usize], part: usize) -> usize {
    part.checked_sub(1).map_or(0, |before| ends[before])
}

fn is_white(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use proptest::prelude::*;

    use super::*;
    use crate::embed::OfflineEmbedder;

    /// Counts a token for every four letters of a word, and `added` for every text.
    #[derive(Debug)]
    struct Pieces(Option<usize>);

    #[async_trait]
    impl Embedder for Pieces {
        fn name(&self) -> String {
            "pieces".into()
        }

        async fn dimensions(&self) -> Result<usize> {
            Ok(1)
        }

        async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
            Ok(vec![vec![1.0]; texts.len()])
        }

        fn tokens(&self, text: &str) -> Option<usize> {
            let own: usize = text.split_whitespace().map(|word| word.chars().count().div_ceil(4)).sum();
            self.0.map(|added| own + added)
        }
    }

    fn cut(text: &str, by: ChunkBy, size: usize, overlap: usize) -> Vec<&str> {
        chunks(text, Some(&Chunking { by, size, overlap }), &Pieces(Some(0))).unwrap()
    }

    #[test]
    fn without_chunking_a_text_is_one_chunk() {
        assert_eq!(chunks(" all of it ", None, &Pieces(None)).unwrap(), [" all of it "]);
    }

    #[test]
    fn white_space_has_no_chunks() {
        for text in ["", " \n\t\u{a0}\u{2003}"] {
            assert!(chunks(text, None, &Pieces(None)).unwrap().is_empty());
            assert!(cut(text, ChunkBy::Characters, 2, 0).is_empty());
        }
    }

    #[test]
    fn characters_end_at_white_space_where_little_is_lost() {
        assert_eq!(cut("aaaa bbbb cccc", ChunkBy::Characters, 10, 0), ["aaaa bbbb ", "cccc"]);
        assert_eq!(cut("aaaa bbbb cccc", ChunkBy::Characters, 12, 0), ["aaaa bbbb ", "cccc"]);
        assert_eq!(cut("aaaa bbbbbbb", ChunkBy::Characters, 8, 0), ["aaaa bbb", "bbbb"]);
        assert_eq!(cut("  aaaabbbb", ChunkBy::Characters, 4, 0), ["  aaaa", "bbbb"]);
    }

    #[test]
    fn a_character_is_what_people_see() {
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
        let text = family.repeat(3) + "e\u{301}";
        assert_eq!(cut(&text, ChunkBy::Characters, 2, 0), [family.repeat(2), format!("{family}e\u{301}")]);
    }

    #[test]
    fn chunks_share_their_overlap() {
        assert_eq!(cut("abcdefghij", ChunkBy::Characters, 4, 1), ["abcd", "defg", "ghij"]);
        assert_eq!(cut("One. Two. Three. Four.", ChunkBy::Sentences, 2, 1), ["One. Two. ", "Two. Three. ", "Three. Four."]);
        assert_eq!(cut("aaaa bbbb cccc dddd", ChunkBy::Tokens, 2, 1), ["aaaa bbbb ", "bbbb cccc ", "cccc dddd"]);
    }

    #[test]
    fn an_empty_line_is_no_sentence() {
        let text = "\n\nOne, Mr. X.\n\n\nTwo? Three!";
        assert_eq!(cut(text, ChunkBy::Sentences, 1, 0).concat(), text);
        assert_eq!(cut("\n\nOne.\n\n\nTwo? Three!", ChunkBy::Sentences, 2, 0), ["\n\nOne.\n\n\nTwo? ", "Three!"]);
    }

    #[test]
    fn tokens_are_what_the_embedder_counts() {
        let text = "aaaaaaaa bb cc dddddddddddd ee";
        assert_eq!(cut(text, ChunkBy::Tokens, 2, 0), ["aaaaaaaa ", "bb cc ", "dddddddddddd ", "ee"]);
        let added = chunks(text, Some(&Chunking { by: ChunkBy::Tokens, size: 5, overlap: 1 }), &Pieces(Some(2))).unwrap();
        assert_eq!(added, ["aaaaaaaa bb ", "bb cc ", "dddddddddddd ", "ee"]);
        let words = Chunking { by: ChunkBy::Tokens, size: 2, overlap: 0 };
        assert_eq!(chunks("one, two three", Some(&words), &OfflineEmbedder::default()).unwrap(), ["one, two ", "three"]);
    }

    #[test]
    fn tokens_that_nobody_counts_are_an_error() {
        let wrong = chunks("a", Some(&Chunking { by: ChunkBy::Tokens, size: 2, overlap: 0 }), &Pieces(None)).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Config);
        assert!(wrong.hint().unwrap().contains("`LLM_TOKENIZER`"));
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for (size, overlap, named) in [(0, 0, "`size`"), (3, 3, "`overlap`"), (3, 4, "`overlap`")] {
            let wrong = chunks("a", Some(&Chunking { by: ChunkBy::Sentences, size, overlap }), &Pieces(None)).unwrap_err();
            assert_eq!(wrong.kind(), ErrorKind::Config);
            assert!(wrong.to_string().contains(named), "{wrong}");
        }
    }

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof!["\\PC{0,60}", "([a-c]{1,9}[ \n.,]{1,3}){0,30}", "[ \n\ta.\u{301}\u{a0}]{0,60}"]
    }

    fn ways() -> impl Strategy<Value = Chunking> {
        let by = prop_oneof![Just(ChunkBy::Characters), Just(ChunkBy::Sentences), Just(ChunkBy::Tokens)];
        (by, 1..12_usize, 0..12_usize).prop_map(|(by, size, overlap)| Chunking { by, size, overlap: overlap % size })
    }

    /// How many of what is counted a chunk has.
    fn size(chunk: &str, by: ChunkBy) -> usize {
        match by {
            ChunkBy::Characters => chunk.trim().graphemes(true).count(),
            ChunkBy::Sentences => chunk.split_sentence_bounds().filter(|s| !is_white(s)).count(),
            ChunkBy::Tokens => Pieces(Some(1)).tokens(chunk).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn chunks_cover_the_text_in_order_and_hold_no_more_than_they_may(text in texts(), way in ways()) {
            let made = chunks(&text, Some(&way), &Pieces(Some(1))).unwrap();
            prop_assert_eq!(made.is_empty(), text.trim().is_empty());
            let mut done = 0;
            for chunk in &made {
                let from = chunk.as_ptr() as usize - text.as_ptr() as usize;
                prop_assert!(from <= done, "nothing is left out");
                prop_assert!(from + chunk.len() > done, "each brings something new");
                prop_assert!(!chunk.trim().is_empty());
                let one_word = way.by == ChunkBy::Tokens && ends(chunk, chunk.split_word_bounds()).len() == 1;
                prop_assert!(one_word || size(chunk, way.by) <= way.size, "{:?} in {:?}", chunk, way);
                if way.overlap == 0 {
                    prop_assert_eq!(from, done);
                }
                done = from + chunk.len();
            }
            prop_assert!(made.is_empty() || done == text.len());
        }
    }
}
