//! The embedder that runs a BERT model from a folder in this process.

mod model;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use self::model::Model;
use super::Embedder;
use super::vector::unit;
use crate::error::{Error, ErrorKind, Result};

/// Texts that are read at a time: what is kept of their tokens stays small.
const AT_A_TIME: usize = 512;

/// Runs a model of type BERT on the processor, from a folder as sentence-transformers saves it: `config.json`, `tokenizer.json`,
/// `model.safetensors`, `1_Pooling/config.json`, and `sentence_bert_config.json` if it is there.
///
/// Texts longer than the model takes are cut. A model that has a prompt put before all texts is refused; prompts that
/// it has for some, such as queries, are the caller's to put there.
pub struct LocalEmbedder {
    name: String,
    model: Arc<Model>,
    /// Held by who runs the model: it uses all processors, and the memory of one batch.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl LocalEmbedder {
    /// Reads the model in `folder`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the file that is missing, cannot be read, or asks for what is not supported.
    pub fn open(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::new(ErrorKind::Config, format!("there is no folder `{}`", folder.display()))
                .with_hint("name the folder of a model, or set `LLM_API_URL` to the service that has the model"));
        }
        let (model, hash) = Model::read(folder)?;
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let last = folder.file_name().or_else(|| whole.file_name()).unwrap_or_default();
        let name = format!("local:{}@{}", last.to_string_lossy(), &hash[..12]);
        Ok(Self { name, model: Arc::new(model), turn: Arc::default() })
    }

    /// Numbers of a vector.
    pub(super) fn size(&self) -> usize {
        self.model.size()
    }
}

#[async_trait]
impl Embedder for LocalEmbedder {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn dimensions(&self) -> Result<usize> {
        Ok(self.size())
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(texts.len());
        for part in texts.chunks(AT_A_TIME) {
            let turn = self.turn.clone().lock_owned().await;
            let (model, part) = (self.model.clone(), part.to_vec());
            let running = tokio::task::spawn_blocking(move || {
                // Kept until the end even when nobody waits for it any more.
                let _turn = turn;
                model.run(&part)
            });
            let made = running.await.map_err(|_| Error::new(ErrorKind::Internal, "the local model did not come to an end"))??;
            for vector in made {
                let vector = vector.and_then(unit).ok_or_else(|| nothing(vectors.len() + 1, texts))?;
                vectors.push(vector);
            }
        }
        Ok(vectors)
    }

    fn tokens(&self, text: &str) -> Option<usize> {
        self.model.count(text)
    }
}

fn nothing(place: usize, texts: &[String]) -> Error {
    let characters = texts[place - 1].chars().count();
    let message = format!("the local model makes no vector of text {place} of {} ({characters} characters)", texts.len());
    Error::new(ErrorKind::Data, message)
}

impl fmt::Debug for LocalEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEmbedder").field("name", &self.name).finish_non_exhaustive()
    }
}
