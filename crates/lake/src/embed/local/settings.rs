//! What the files of a sentence-transformers folder say beside its weights.

use std::path::Path;

use candle_transformers::models::bert::Config;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};

const CONFIG: &str = "config.json";
const POOLING: &str = "1_Pooling/config.json";
const SENTENCES: &str = "sentence_bert_config.json";
const MODULES: &str = "modules.json";
const PROMPTS: &str = "config_sentence_transformers.json";

/// How the vectors of tokens become the vector of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// Their mean.
    Mean,
    /// The vector of the first token.
    First,
}

/// What is known of a model before its weights are read.
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) pooling: Pooling,
    /// The most tokens of a text.
    pub(super) length: usize,
    pub(super) lower_case: bool,
}

impl Settings {
    /// # Errors
    /// [`ErrorKind::Config`], naming the file that is missing, unreadable, or asks for what cannot be done.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let config = config(folder)?;
        only_known_modules(folder)?;
        no_prompt(folder)?;
        let sentences: Sentences = optional(folder, SENTENCES)?.unwrap_or_default();
        let limit = config.max_position_embeddings;
        let length = sentences.max_seq_length.unwrap_or(limit).min(limit);
        Ok(Self { pooling: pooling(folder)?, length, lower_case: sentences.do_lower_case, config })
    }

    /// All of this that vectors depend on.
    pub(super) fn fingerprint(&self) -> String {
        let Config { num_attention_heads, hidden_act, layer_norm_eps, .. } = &self.config;
        let (pooling, length, lower) = (self.pooling, self.length, self.lower_case);
        format!("{pooling:?} {length} {lower} {num_attention_heads} {hidden_act:?} {layer_norm_eps:e}")
    }
}

#[derive(Default, Deserialize)]
struct Sentences {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
struct Prompts {
    default_prompt_name: Option<String>,
}

fn config(folder: &Path) -> Result<Config> {
    let path = folder.join(CONFIG);
    let mut fields: Map<String, Value> = required(folder, CONFIG)?;
    match fields.get("model_type").and_then(Value::as_str) {
        Some("bert") => {}
        Some(other) => return Err(unsupported(&path, &format!("the model is of type `{other}`"))),
        None => return Err(unsupported(&path, "it does not say the type of the model")),
    }
    let act = match fields.get("hidden_act").and_then(Value::as_str) {
        None | Some("gelu") => "gelu",
        Some("gelu_new" | "gelu_pytorch_tanh") => "geluapproximate",
        Some("relu") => "relu",
        Some(other) => return Err(unsupported(&path, &format!("the activation is `{other}`"))),
    };
    fields.insert("hidden_act".into(), act.into());
    // What Transformers leaves out is as usual.
    let usual = [
        ("hidden_dropout_prob", json!(0.1)),
        ("initializer_range", json!(0.02)),
        ("layer_norm_eps", json!(1e-12)),
        ("pad_token_id", json!(0)),
        ("type_vocab_size", json!(2)),
    ];
    for (name, value) in usual {
        fields.entry(name).or_insert(value);
    }
    let config: Config = serde_json::from_value(fields.into()).map_err(|e| unreadable(&path, &e.to_string()))?;
    let (heads, size) = (config.num_attention_heads, config.hidden_size);
    if heads == 0 || size == 0 || size % heads != 0 {
        return Err(unreadable(&path, &format!("{heads} heads cannot share {size} numbers")));
    }
    Ok(config)
}

fn pooling(folder: &Path) -> Result<Pooling> {
    let path = folder.join(POOLING);
    let fields: Map<String, Value> = required(folder, POOLING)?;
    let on = |name: &&String| name.starts_with("pooling_mode_") && fields.get(*name) == Some(&Value::Bool(true));
    let mut modes: Vec<&str> = fields.keys().filter(on).map(|name| name.trim_start_matches("pooling_mode_")).collect();
    modes.extend(fields.get("pooling_mode").and_then(Value::as_str));
    match modes[..] {
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["cls_token" | "cls"] => Ok(Pooling::First),
        [] => Err(unsupported(&path, "it names no way of pooling")),
        _ => Err(unsupported(&path, &format!("the pooling is by `{}`", modes.join("` and `")))),
    }
}

/// A layer that is left out would give other vectors without a word.
fn only_known_modules(folder: &Path) -> Result<()> {
    let modules: Vec<Module> = optional(folder, MODULES)?.unwrap_or_default();
    for module in &modules {
        let name = module.kind.rsplit('.').next().unwrap_or_default();
        if !matches!(name, "Transformer" | "Pooling" | "Normalize") {
            return Err(unsupported(&folder.join(MODULES), &format!("the model has a layer `{name}`")));
        }
    }
    Ok(())
}

/// A prompt that belongs before every text changes its vector.
fn no_prompt(folder: &Path) -> Result<()> {
    let prompts: Prompts = optional(folder, PROMPTS)?.unwrap_or_default();
    match prompts.default_prompt_name {
        Some(name) => Err(unsupported(&folder.join(PROMPTS), &format!("the model puts the prompt `{name}` before texts"))),
        None => Ok(()),
    }
}

fn required<T: for<'a> Deserialize<'a>>(folder: &Path, name: &str) -> Result<T> {
    optional(folder, name)?.ok_or_else(|| missing(folder, name))
}

fn optional<T: for<'a> Deserialize<'a>>(folder: &Path, name: &str) -> Result<Option<T>> {
    let path = folder.join(name);
    let Some(bytes) = bytes(&path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| unreadable(&path, &e.to_string()))
}

/// What is in the file at `path`; `None` when there is none.
///
/// # Errors
/// [`ErrorKind::Config`] for a file that cannot be read.
pub(super) fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unreadable(path, &e.to_string()).with_source(e)),
    }
}

/// A file that a model must have and this one has not.
pub(super) fn missing(folder: &Path, name: &str) -> Error {
    let error = Error::new(ErrorKind::Config, format!("the model in `{}` has no `{name}`", folder.display()));
    match name {
        "model.safetensors" if folder.join("pytorch_model.bin").exists() => {
            error.with_hint("its weights are in `pytorch_model.bin`: save it again with `safe_serialization=True`")
        }
        _ => error.with_hint("name the folder of a BERT model as sentence-transformers saves it, such as `all-MiniLM-L6-v2`"),
    }
}

/// A file of a model that is not what it should be.
pub(super) fn unreadable(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("`{}` cannot be read: {why}", path.display())).with_hint("get the model's files again")
}

fn unsupported(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("`{}`: {why}, which is not supported", path.display()))
        .with_hint("use a BERT model with mean or CLS pooling, or have a service run this one and set `LLM_API_URL`")
}
