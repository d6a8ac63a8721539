//! The embedder that is built in: it needs no model, no download and no service, and knows words but no meaning.

use async_trait::async_trait;
use unicode_segmentation::UnicodeSegmentation;

use super::Embedder;
use super::vector::unit;
use crate::error::{Error, ErrorKind, Result};

/// What a user of the built-in embedder must know.
pub const NOTICE: &str = "the built-in embedder compares words and parts of words, not meaning; for meaning set `LLM_API_URL` to a service, \
                          or `LLM_EMBEDDING_MODEL` to the folder of a model";

const DIMENSIONS: usize = 256;
const GRAMS: std::ops::RangeInclusive<usize> = 3..=5;

/// How much all parts of a word count beside the word itself.
const WEIGHT_OF_PARTS: f64 = 1.0;

/// After so many texts, others get their turn on this thread.
const TURN: usize = 64;

/// Matches words and parts of words, **not meaning**: `car` and `automobile` are strangers to it, `car` and `cars` are not.
///
/// A vector is a hashed bag of lower-cased words and of their character 3- to 5-grams: each is added to or taken from the place that its
/// hash names, by the square root of how often it comes; all parts of a word weigh as much as the word. There is no list of stop words,
/// and no language is special. The same text gives the same vector, to the last bit, on every machine.
#[derive(Debug, Clone)]
pub struct OfflineEmbedder {
    dimensions: usize,
}

impl OfflineEmbedder {
    /// An embedder with vectors of `dimensions` numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for no dimensions.
    pub fn new(dimensions: usize) -> Result<Self> {
        if dimensions == 0 {
            return Err(Error::new(ErrorKind::Config, "a vector needs at least one dimension"));
        }
        Ok(Self { dimensions })
    }

    fn vector(&self, text: &str) -> Vec<f32> {
        let mut sum = vec![0.0; self.dimensions];
        for same in features(text).chunk_by(|a, b| a.0 == b.0) {
            let hash = same[0].0;
            let place = (hash % self.dimensions as u64) as usize;
            let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
            // A square root is the same on every machine; a logarithm is not.
            sum[place] += sign * same.iter().map(|(_, weight)| weight).sum::<f64>().sqrt();
        }
        let sum = sum.into_iter().map(|x| x as f32).collect();
        unit(sum).unwrap_or_else(|| self.axis(text))
    }

    /// For a text without anything to count, and for one whose features cancel each other out.
    fn axis(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; self.dimensions];
        vector[(hash(Feature::Text, text) % self.dimensions as u64) as usize] = 1.0;
        vector
    }
}

impl Default for OfflineEmbedder {
    fn default() -> Self {
        Self { dimensions: DIMENSIONS }
    }
}

#[async_trait]
impl Embedder for OfflineEmbedder {
    fn name(&self) -> String {
        format!("offline-hash-v1/{}", self.dimensions)
    }

    async fn dimensions(&self) -> Result<usize> {
        Ok(self.dimensions)
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(texts.len());
        for turn in texts.chunks(TURN) {
            vectors.extend(turn.iter().map(|text| self.vector(text)));
            tokio::task::yield_now().await;
        }
        Ok(vectors)
    }

    fn is_costly(&self) -> bool {
        false
    }

    fn tokens(&self, text: &str) -> Option<usize> {
        Some(text.unicode_words().count())
    }
}

#[derive(Clone, Copy)]
enum Feature {
    Word = 1,
    Gram = 2,
    Sign = 3,
    Text = 4,
}

/// The hash and the weight of each feature, sorted: sums do not depend on the order of words.
fn features(text: &str) -> Vec<(u64, f64)> {
    let mut found = Vec::new();
    for word in text.unicode_words() {
        let word = format!("<{}>", word.to_lowercase());
        found.push((hash(Feature::Word, &word), 1.0));
        let grams = grams(&word);
        let weight = WEIGHT_OF_PARTS / grams.len() as f64;
        found.extend(grams.into_iter().map(|gram| (hash(Feature::Gram, gram), weight)));
    }
    if found.is_empty() {
        let signs = text.graphemes(true).filter(|sign| !sign.trim().is_empty());
        found.extend(signs.map(|sign| (hash(Feature::Sign, sign), 1.0)));
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    found
}

/// Parts of a word that stands in `<` and `>`, so that its beginning is not taken for a middle.
fn grams(word: &str) -> Vec<&str> {
    let borders: Vec<usize> = word.char_indices().map(|(at, _)| at).chain(std::iter::once(word.len())).collect();
    let of_length = |length: usize| borders.iter().zip(borders.iter().skip(length)).map(|(from, to)| &word[*from..*to]);
    GRAMS.flat_map(of_length).collect()
}

/// FNV-1a, then the finaliser of MurmurHash3: the lowest and the highest bits are used, and FNV alone mixes them badly.
fn hash(feature: Feature, part: &str) -> u64 {
    let bytes = std::iter::once(feature as u8).chain(part.bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector(text: &str) -> Vec<f32> {
        OfflineEmbedder::default().vector(text)
    }

    fn cosine(a: &str, b: &str) -> f32 {
        vector(a).iter().zip(vector(b)).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn shared_words_and_parts_of_words_bring_texts_together() {
        let (same, none) = ("the delivery came late", "quarterly revenue grew again");
        assert!(cosine("delivery was very late", same) > 0.4);
        assert!(cosine("deliveries arrive later", same) > 0.15);
        assert!(cosine(none, same).abs() < 0.2);
        assert!(cosine("Доставка опоздала", "доставки опоздали") > 0.3);
        assert!(cosine("配達が遅れた", "配達は早かった") > 0.2);
    }

    #[test]
    fn case_and_order_of_words_do_not_matter() {
        assert_eq!(vector("Late ÉTÉ delivery"), vector("delivery, late été!"));
        assert_eq!(vector("cat cattle catalogue"), vector("catalogue cattle cat"), "words that share parts");
    }

    /// Vectors are kept for long: when this fails, the name must change.
    #[test]
    fn vectors_stay_what_they_were() {
        let numbers = vector("A cat, 猫.").into_iter().enumerate().filter(|(_, x)| *x != 0.0);
        insta::assert_snapshot!(numbers.map(|(at, x)| format!("{at}:{x}")).collect::<Vec<_>>().join(" "));
    }

    #[tokio::test]
    async fn one_vector_for_each_text_in_order() {
        let texts: Vec<String> = (0..150).map(|n| format!("text {n}")).collect();
        let embedder = OfflineEmbedder::default();
        let made = embedder.embed(&texts).await.unwrap();
        assert_eq!(made.len(), 150);
        assert!(made.iter().zip(&texts).all(|(v, t)| *v == vector(t)));
        assert_eq!((embedder.name().as_str(), embedder.is_costly()), ("offline-hash-v1/256", false));
        assert_eq!(embedder.tokens("one, two... three!"), Some(3));
    }

    #[test]
    fn a_vector_without_dimensions_is_refused() {
        assert_eq!(OfflineEmbedder::new(0).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(OfflineEmbedder::new(8).unwrap().vector("x").len(), 8);
    }

    proptest! {
        #[test]
        fn every_text_has_a_unit_vector(text in "\\PC*|[ \n\t]*|[!-/]*") {
            let made = vector(&text);
            let length: f32 = made.iter().map(|x| x * x).sum::<f32>().sqrt();
            prop_assert!((length - 1.0).abs() < 1e-5);
            prop_assert_eq!(made, vector(&text));
        }
    }
}
