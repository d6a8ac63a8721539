//! A BERT model and its tokenizer: texts to vectors, before these get length 1.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::BertModel;
use sha2::{Digest, Sha256};
use tokenizers::{Tokenizer, TruncationParams};

use super::settings::{Pooling, Settings, bytes, missing, unreadable};
use crate::embed::tokenizer::Tokens;
use crate::error::{Error, ErrorKind, Result};

const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";

/// The most texts in a batch, and the most of its attention's cells (texts x tokens x tokens): these decide how much memory it takes.
const MOST_TEXTS: usize = 64;
const MOST_CELLS: usize = 1 << 20;

/// A model that is ready to run.
pub(super) struct Model {
    bert: BertModel,
    settings: Settings,
    tokens: Tokens,
    /// The same tokenizer, which cuts texts to what the model takes.
    cutting: Tokenizer,
}

/// What the model reads of a text.
struct Read {
    ids: Vec<u32>,
    kinds: Vec<u32>,
}

impl Model {
    /// The model in `folder`, and the hash of all that its vectors depend on.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the file that is at fault.
    pub(super) fn read(folder: &Path) -> Result<(Self, String)> {
        let settings = Settings::read(folder)?;
        let file = |name: &str| bytes(&folder.join(name))?.ok_or_else(|| missing(folder, name));
        let (tokenizer, weights) = (file(TOKENIZER)?, file(WEIGHTS)?);
        let (tokens, cutting) = tokenizers(&tokenizer, &folder.join(TOKENIZER), &settings)?;
        let hash = Sha256::new().chain_update(&weights).chain_update(&tokenizer).chain_update(settings.fingerprint()).finalize();
        let bert = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)
            .and_then(|weights| BertModel::load(weights, &settings.config))
            .map_err(|e| unreadable(&folder.join(WEIGHTS), &first_line(&e)))?;
        Ok((Self { bert, settings, tokens, cutting }, format!("{hash:x}")))
    }

    /// Numbers of a vector.
    pub(super) fn size(&self) -> usize {
        self.settings.config.hidden_size
    }

    /// Tokens of `text`, also those beyond what the model takes.
    pub(super) fn count(&self, text: &str) -> Option<usize> {
        self.tokens.count(&self.cased(text))
    }

    /// A vector for each text, in order; `None` for a text without any token.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the model cannot be run.
    pub(super) fn run(&self, texts: &[String]) -> Result<Vec<Option<Vec<f32>>>> {
        let cased: Vec<String> = texts.iter().map(|text| self.cased(text)).collect();
        // What the tokenizer says of a failure may repeat the text.
        let encodings = self
            .cutting
            .encode_batch_fast(cased, true)
            .map_err(|_| Error::new(ErrorKind::Data, "the local model's tokenizer cannot take one of the texts"))?;
        let reads: Vec<Read> =
            encodings.iter().map(|e| Read { ids: e.get_ids().to_vec(), kinds: e.get_type_ids().to_vec() }).collect();
        let mut vectors = vec![None; texts.len()];
        for batch in batches(&reads) {
            let made = self.batch(&batch.iter().map(|at| &reads[*at]).collect::<Vec<_>>());
            let made =
                made.map_err(|e| Error::new(ErrorKind::Internal, format!("cannot run the local model: {}", first_line(&e))))?;
            for (at, vector) in batch.into_iter().zip(made) {
                vectors[at] = Some(vector);
            }
        }
        Ok(vectors)
    }

    fn cased(&self, text: &str) -> String {
        if self.settings.lower_case { text.to_lowercase() } else { text.to_owned() }
    }

    fn batch(&self, reads: &[&Read]) -> candle_core::Result<Vec<Vec<f32>>> {
        let length = reads.iter().map(|r| r.ids.len()).max().unwrap_or(0);
        let shape = (reads.len(), length);
        let padded = |row: &dyn Fn(&Read) -> Vec<u32>, pad: u32| {
            let rows = reads.iter().flat_map(|read| {
                let mut row = row(read);
                row.resize(length, pad);
                row
            });
            Tensor::from_vec(rows.collect::<Vec<u32>>(), shape, &Device::Cpu)
        };
        let ids = padded(&|read| read.ids.clone(), self.settings.config.pad_token_id as u32)?;
        let kinds = padded(&|read| read.kinds.clone(), 0)?;
        let mask = padded(&|read| vec![1; read.ids.len()], 0)?;
        let hidden = self.bert.forward(&ids, &kinds, Some(&mask))?;
        let pooled = match self.settings.pooling {
            Pooling::First => hidden.narrow(1, 0, 1)?.squeeze(1)?,
            Pooling::Mean => {
                let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
                hidden.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)?
            }
        };
        pooled.to_vec2()
    }
}

/// Texts that have tokens, those of similar length together.
fn batches(reads: &[Read]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..reads.len()).filter(|at| !reads[*at].ids.is_empty()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(reads[*at].ids.len()));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for at in order {
        match batches.last_mut() {
            Some(batch) if batch.len() < MOST_TEXTS && (batch.len() + 1) * reads[batch[0]].ids.len().pow(2) <= MOST_CELLS => {
                batch.push(at)
            }
            _ => batches.push(vec![at]),
        }
    }
    batches
}

/// The tokenizer to count with, and the one that cuts.
fn tokenizers(bytes: &[u8], path: &Path, settings: &Settings) -> Result<(Tokens, Tokenizer)> {
    let tokens = Tokens::parse(bytes, path)?;
    let most = tokens.inner().get_vocab(true).into_values().max().unwrap_or(0) as usize;
    if most >= settings.config.vocab_size {
        let why = format!("it has the token {most}, and the model knows only {}", settings.config.vocab_size);
        return Err(unreadable(path, &why));
    }
    if settings.length <= tokens.added() {
        let why = format!("it adds {} tokens to every text, and the model takes {} in all", tokens.added(), settings.length);
        return Err(unreadable(path, &why));
    }
    let mut cutting = tokens.inner().clone();
    let cut = TruncationParams { max_length: settings.length, ..TruncationParams::default() };
    cutting.with_truncation(Some(cut)).map_err(|e| unreadable(path, &e.to_string()))?;
    Ok((tokens, cutting))
}

fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
