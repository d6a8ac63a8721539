//! The embedder that the environment asks for.

use std::path::Path;
use std::sync::Arc;

use super::http::options::{API_URL, DIMENSIONS, MODEL, number, text};
use super::{Embedder, HttpEmbedder, HttpEmbedderOptions, LocalEmbedder, OfflineEmbedder};
use crate::error::{Error, ErrorKind, Result};

/// The embedder by its variables: the service at `LLM_API_URL`; without one, the model in the folder that `LLM_EMBEDDING_MODEL` names;
/// without either, the built-in one, whose users should be shown [`super::NOTICE`]. Nothing is asked of a service yet.
///
/// # Errors
/// [`ErrorKind::Config`], naming the variable that cannot be, or the file of the model.
pub fn connect(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Arc<dyn Embedder>> {
    if text(lookup, API_URL).is_some() {
        return Ok(Arc::new(HttpEmbedder::new(HttpEmbedderOptions::from_lookup(lookup)?)?));
    }
    let dimensions = number(lookup, DIMENSIONS)?;
    match text(lookup, MODEL) {
        Some(model) => Ok(Arc::new(local(&model, dimensions)?)),
        None => Ok(Arc::new(dimensions.map_or_else(|| Ok(OfflineEmbedder::default()), OfflineEmbedder::new)?)),
    }
}

fn local(model: &str, dimensions: Option<usize>) -> Result<LocalEmbedder> {
    let folder = Path::new(model);
    if !model.contains('/') && !folder.exists() {
        let message = format!("`{MODEL}` is `{model}`, which is no folder, and `{API_URL}` is not set");
        return Err(Error::new(ErrorKind::Config, message)
            .with_hint(format!("set `{API_URL}` to the service that has the model, or name the folder of a local one")));
    }
    let embedder = LocalEmbedder::open(folder).map_err(|e| e.context(format!("`{MODEL}`")))?;
    match dimensions {
        Some(wanted) if wanted != embedder.size() => {
            let message = format!("`{DIMENSIONS}` is {wanted}, and the vectors of `{model}` have {} numbers", embedder.size());
            Err(Error::new(ErrorKind::Config, message).with_hint(format!("leave `{DIMENSIONS}` out")))
        }
        _ => Ok(embedder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(pairs: &[(&str, &str)]) -> Result<Arc<dyn Embedder>> {
        connect(&|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string()))
    }

    #[test]
    fn without_settings_the_built_in_one_serves() {
        assert_eq!(connected(&[(API_URL, " ")]).unwrap().name(), "offline-hash-v1/256");
        assert_eq!(connected(&[(DIMENSIONS, "64")]).unwrap().name(), "offline-hash-v1/64");
    }

    #[test]
    fn an_address_means_a_service() {
        let pairs = [(API_URL, "http://h/v1"), (MODEL, "m"), (DIMENSIONS, "8")];
        assert_eq!(connected(&pairs).unwrap().name(), "http://h/v1 m/8");
        assert!(connected(&pairs[..1]).unwrap_err().to_string().contains("`LLM_EMBEDDING_MODEL` is not set"));
    }

    #[test]
    fn a_model_without_an_address_is_a_folder() {
        let cases = [("all-minilm", "`all-minilm`, which is no folder"), ("/nowhere/model", "`/nowhere/model`")];
        for (model, expected) in cases {
            let error = connected(&[(MODEL, model)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().starts_with("`LLM_EMBEDDING_MODEL`") && error.to_string().contains(expected), "{error}");
        }
    }
}
