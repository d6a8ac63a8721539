//! A tiny BERT with random weights, against the same model written out in plain loops.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const WIDTH: usize = 32;
const HEADS: usize = 4;
const INNER: usize = 64;
const LAYERS: usize = 2;
const POSITIONS: usize = 40;
const WORDS: [&str; 24] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "the", "cat", "kitten", "##s", "dog", "sat", "rests", "on", "mat", "rug", "stock",
    "market", "fell", "sharp", "##ly", "and", "then", "it", ".",
];

type Weights = HashMap<String, (Vec<usize>, Vec<f32>)>;

/// A model in a folder of its own.
struct Folder {
    _root: TempDir,
    path: PathBuf,
    weights: Weights,
}

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("tiny");
        std::fs::create_dir_all(path.join("1_Pooling")).unwrap();
        let folder = Self { _root: root, path, weights: weights() };
        folder.write("config.json", &config());
        folder.write("tokenizer.json", &tokenizer());
        folder.write("1_Pooling/config.json", &json!({ "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false }));
        folder.write("sentence_bert_config.json", &json!({ "max_seq_length": 16, "do_lower_case": false }));
        let tensors: HashMap<&str, Tensor> =
            folder.weights.iter().map(|(name, weight)| (name.as_str(), tensor(weight))).collect();
        candle_core::safetensors::save(&tensors, folder.path.join("model.safetensors")).unwrap();
        folder
    }

    fn write(&self, name: &str, content: &Value) {
        std::fs::write(self.path.join(name), content.to_string()).unwrap();
    }

    fn open(&self) -> LocalEmbedder {
        LocalEmbedder::open(&self.path).unwrap()
    }

    fn error(&self) -> Error {
        let error = LocalEmbedder::open(&self.path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.hint().is_some());
        error
    }
}

fn tensor((shape, numbers): &(Vec<usize>, Vec<f32>)) -> Tensor {
    Tensor::from_vec(numbers.clone(), shape.as_slice(), &Device::Cpu).unwrap()
}

fn config() -> Value {
    json!({
        "model_type": "bert", "vocab_size": WORDS.len(), "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "intermediate_size": INNER, "hidden_act": "gelu", "max_position_embeddings": POSITIONS,
    })
}

fn tokenizer() -> Value {
    let vocabulary: serde_json::Map<String, Value> =
        WORDS.iter().enumerate().map(|(id, word)| (word.to_string(), id.into())).collect();
    let special = |content: &str, id: u32| json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true });
    let (begin, end) =
        (json!({ "SpecialToken": { "id": "[CLS]", "type_id": 0 } }), json!({ "SpecialToken": { "id": "[SEP]", "type_id": 0 } }));
    json!({
        "version": "1.0",
        // As models are shipped: both must be overruled.
        "truncation": { "direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0 },
        "padding": { "strategy": { "Fixed": 30 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
                     "pad_token": "[PAD]" },
        "added_tokens": [special("[PAD]", 0), special("[UNK]", 1), special("[CLS]", 2), special("[SEP]", 3)],
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, { "Sequence": { "id": "A", "type_id": 0 } }, end],
            "pair": [begin, { "Sequence": { "id": "A", "type_id": 0 } }, end, { "Sequence": { "id": "B", "type_id": 1 } }, end],
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] },
            },
        },
        "decoder": null,
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                   "vocab": vocabulary },
    })
}

fn weights() -> Weights {
    let mut state = 42_u64;
    let mut all = Weights::new();
    let mut add = |name: String, shape: &[usize]| {
        let numbers = (0..shape.iter().product()).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.6
        });
        all.insert(name, (shape.to_vec(), numbers.collect()));
    };
    for (name, rows) in [("word", WORDS.len()), ("position", POSITIONS), ("token_type", 2)] {
        add(format!("embeddings.{name}_embeddings.weight"), &[rows, WIDTH]);
    }
    let mut pairs = vec![("embeddings.LayerNorm".to_owned(), vec![WIDTH])];
    for layer in 0..LAYERS {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
            pairs.push((name(part), vec![WIDTH, WIDTH]));
        }
        pairs.push((name("attention.output.LayerNorm"), vec![WIDTH]));
        pairs.push((name("intermediate.dense"), vec![INNER, WIDTH]));
        pairs.push((name("output.dense"), vec![WIDTH, INNER]));
        pairs.push((name("output.LayerNorm"), vec![WIDTH]));
    }
    for (name, shape) in pairs {
        add(format!("{name}.weight"), &shape);
        add(format!("{name}.bias"), &shape[..1]);
    }
    all
}

/// BERT in plain loops: the vectors of all tokens.
struct Plain<'a>(&'a Weights);

impl Plain<'_> {
    fn numbers(&self, name: &str) -> Vec<f64> {
        self.0[name].1.iter().map(|x| f64::from(*x)).collect()
    }

    fn linear(&self, name: &str, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (weight, bias) = (self.numbers(&format!("{name}.weight")), self.numbers(&format!("{name}.bias")));
        let one = |row: &Vec<f64>| bias.iter().zip(weight.chunks(row.len())).map(|(b, w)| b + dot(w, row)).collect();
        rows.iter().map(one).collect()
    }

    fn norm(&self, name: &str, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (weight, bias) = (self.numbers(&format!("{name}.weight")), self.numbers(&format!("{name}.bias")));
        let one = |row: &Vec<f64>| {
            let mean = row.iter().sum::<f64>() / WIDTH as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / WIDTH as f64;
            row.iter().zip(weight.iter().zip(&bias)).map(|(x, (w, b))| (x - mean) / (variance + 1e-12).sqrt() * w + b).collect()
        };
        rows.iter().map(one).collect()
    }

    fn attention(&self, name: &str, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let [query, key, value] = ["query", "key", "value"].map(|part| self.linear(&format!("{name}.self.{part}"), rows));
        let mut mixed = vec![vec![0.0; WIDTH]; rows.len()];
        let width = WIDTH / HEADS;
        for head in (0..HEADS).map(|head| head * width..(head + 1) * width) {
            for (at, out) in mixed.iter_mut().enumerate() {
                let scores: Vec<f64> =
                    key.iter().map(|k| (dot(&query[at][head.clone()], &k[head.clone()]) / (width as f64).sqrt()).exp()).collect();
                let all: f64 = scores.iter().sum();
                for (score, value) in scores.iter().zip(&value) {
                    head.clone().for_each(|i| out[i] += score / all * value[i]);
                }
            }
        }
        mixed
    }

    fn run(&self, ids: &[usize]) -> Vec<Vec<f64>> {
        let [word, position, kind] =
            ["word", "position", "token_type"].map(|name| self.numbers(&format!("embeddings.{name}_embeddings.weight")));
        let place =
            |(at, id): (usize, &usize)| (0..WIDTH).map(|i| word[id * WIDTH + i] + position[at * WIDTH + i] + kind[i]).collect();
        let mut rows = self.norm("embeddings.LayerNorm", &ids.iter().enumerate().map(place).collect::<Vec<Vec<f64>>>());
        for layer in 0..LAYERS {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            let attended = self.linear(&name("attention.output.dense"), &self.attention(&name("attention"), &rows));
            rows = self.norm(&name("attention.output.LayerNorm"), &sum(&attended, &rows));
            let mut inner = self.linear(&name("intermediate.dense"), &rows);
            inner.iter_mut().flatten().for_each(|x| *x = *x / 2.0 * (1.0 + error_function(*x / 2.0_f64.sqrt())));
            rows = self.norm(&name("output.LayerNorm"), &sum(&self.linear(&name("output.dense"), &inner), &rows));
        }
        rows
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sum(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
}

/// The integral of the normal distribution, by its series.
fn error_function(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    2.0 / std::f64::consts::PI.sqrt() * sum
}

fn of(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| t.to_string()).collect()
}

fn near(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
}

fn mean(rows: &[Vec<f64>]) -> Vec<f32> {
    unit((0..WIDTH).map(|i| rows.iter().map(|row| row[i]).sum::<f64>() as f32).collect()).unwrap()
}

/// `the cat sat on a kitten s`, with its frame.
const SENTENCE: (&str, [usize; 9]) = ("The cat sat on a kittens", [2, 5, 6, 10, 12, 4, 7, 8, 3]);

#[tokio::test]
async fn vectors_are_those_of_the_model_written_out() {
    let folder = Folder::new();
    let made = folder.open().embed(&of(&[SENTENCE.0])).await.unwrap();
    let expected = mean(&Plain(&folder.weights).run(&SENTENCE.1));
    assert!(near(&made[0], &expected), "{made:?} {expected:?}");
}

#[tokio::test]
async fn pooling_is_as_the_model_has_it() {
    let folder = Folder::new();
    let first = Plain(&folder.weights).run(&SENTENCE.1).swap_remove(0);
    for way in [json!({ "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false }), json!({ "pooling_mode": "cls" })] {
        folder.write("1_Pooling/config.json", &way);
        let made = folder.open().embed(&of(&[SENTENCE.0, "a"])).await.unwrap();
        assert!(near(&made[0], &mean(std::slice::from_ref(&first))), "{made:?}");
    }
}

#[tokio::test]
async fn a_text_has_the_same_vector_in_every_company() {
    let embedder = Folder::new().open();
    let mut texts: Vec<String> = (0..600).map(|n| WORDS[4..][..n % 14 + 1].join(" ")).collect();
    texts[599] = SENTENCE.0.into();
    let together = embedder.embed(&texts).await.unwrap();
    assert_eq!(together.len(), 600);
    for at in [0, 5, 13, 17, 511, 512, 599] {
        let alone = embedder.embed(&texts[at..=at]).await.unwrap();
        assert!(near(&alone[0], &together[at]), "text {at}");
        let length: f32 = alone[0].iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }
    assert!(!near(&together[0], &together[1]));
}

#[tokio::test]
async fn long_texts_are_cut_to_what_the_model_takes() {
    let embedder = Folder::new().open();
    let texts = of(&[&"cat ".repeat(14), &"cat ".repeat(15), &"cat ".repeat(13)]);
    let made = embedder.embed(&texts).await.unwrap();
    assert!(near(&made[0], &made[1]), "both are 14 words and two special tokens");
    assert!(!near(&made[0], &made[2]));
    assert_eq!((embedder.tokens(&texts[0]), embedder.tokens(&texts[1])), (Some(16), Some(17)));
}

#[tokio::test]
async fn the_name_follows_what_vectors_depend_on() {
    let (folder, other) = (Folder::new(), Folder::new());
    let name = folder.open().name();
    assert_eq!(name, other.open().name(), "the same files elsewhere");
    let (label, hash) = name.split_once('@').unwrap();
    assert_eq!((label, hash.len()), ("local:tiny", 12));
    assert_eq!(format!("{:?}", folder.open()), format!("LocalEmbedder {{ name: {name:?}, .. }}"));
    let changes = [
        ("sentence_bert_config.json", json!({ "max_seq_length": 8 })),
        ("1_Pooling/config.json", json!({ "pooling_mode": "cls" })),
        ("tokenizer.json", Value::Null),
    ];
    for (file, mut content) in changes {
        if content.is_null() {
            content = tokenizer();
            content["normalizer"] = Value::Null;
        }
        let before = folder.open().name();
        folder.write(file, &content);
        assert_ne!(folder.open().name(), before, "{file}");
    }
}

#[tokio::test]
async fn a_text_without_tokens_is_named_by_its_place() {
    let folder = Folder::new();
    let mut bare = tokenizer();
    bare["post_processor"] = Value::Null;
    folder.write("tokenizer.json", &bare);
    let error = folder.open().embed(&of(&["a", "\u{200b}"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("text 2 of 2 (1 characters)"), "{error}");
    assert!(folder.open().embed(&[]).await.unwrap().is_empty());
}

#[test]
fn a_file_that_is_missing_is_named() {
    for file in ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"] {
        let folder = Folder::new();
        std::fs::remove_file(folder.path.join(file)).unwrap();
        assert!(folder.error().to_string().ends_with(&format!("has no `{file}`")));
    }
    let folder = Folder::new();
    std::fs::remove_file(folder.path.join("sentence_bert_config.json")).unwrap();
    folder.open();
    std::fs::rename(folder.path.join("model.safetensors"), folder.path.join("pytorch_model.bin")).unwrap();
    assert!(folder.error().hint().unwrap().contains("pytorch_model.bin"));
}

#[test]
fn what_is_not_supported_is_named() {
    let with = |name: &str, value: Value| {
        let mut all = config();
        all[name] = value;
        all
    };
    let cases = [
        ("config.json", with("model_type", json!("mpnet")), "type `mpnet`"),
        ("config.json", with("model_type", Value::Null), "does not say the type"),
        ("config.json", with("hidden_act", json!("silu")), "activation is `silu`"),
        ("config.json", with("num_attention_heads", json!(5)), "5 heads cannot share 32"),
        ("config.json", with("hidden_size", json!("wide")), "cannot be read"),
        (
            "config.json",
            with("num_hidden_layers", json!(3)),
            "model.safetensors` cannot be read: tensor `encoder.layer.2.attention",
        ),
        ("config.json", with("intermediate_size", json!(65)), "model.safetensors` cannot be read: shape mismatch"),
        ("config.json", with("vocab_size", json!(20)), "tokenizer.json` cannot be read: it has the token 23"),
        ("1_Pooling/config.json", json!({ "pooling_mode_max_tokens": true }), "pooling is by `max_tokens`"),
        (
            "1_Pooling/config.json",
            json!({ "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true }),
            "by `cls_token` and `mean_tokens`",
        ),
        ("1_Pooling/config.json", json!({}), "names no way of pooling"),
        ("sentence_bert_config.json", json!({ "max_seq_length": 2 }), "the model takes 2 in all"),
        ("modules.json", json!([{ "type": "sentence_transformers.models.Dense" }]), "a layer `Dense`"),
        ("config_sentence_transformers.json", json!({ "default_prompt_name": "query" }), "the prompt `query`"),
        ("tokenizer.json", json!({}), "tokenizer.json` is not a tokenizer"),
    ];
    for (file, content, said) in cases {
        let folder = Folder::new();
        folder.write(file, &content);
        let error = folder.error();
        assert!(error.to_string().contains(said), "{file}: {error}");
    }
    let folder = Folder::new();
    std::fs::write(folder.path.join("model.safetensors"), "no weights").unwrap();
    assert!(folder.error().to_string().contains("model.safetensors` cannot be read"));
    assert!(LocalEmbedder::open(&folder.path.join("nowhere")).unwrap_err().to_string().contains("no folder"));
}

#[test]
fn the_environment_names_the_folder() {
    let folder = Folder::new();
    let connected = |dimensions: &str| {
        crate::embed::connect(&|name| match name {
            "LLM_EMBEDDING_MODEL" => Some(folder.path.display().to_string()),
            "LLM_EMBEDDING_DIMENSIONS" => Some(dimensions.to_owned()),
            _ => None,
        })
    };
    for dimensions in ["", "32"] {
        assert_eq!(connected(dimensions).unwrap().name(), folder.open().name());
    }
    let error = connected("64").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`LLM_EMBEDDING_DIMENSIONS` is 64"), "{error}");
    std::fs::remove_file(folder.path.join("config.json")).unwrap();
    assert!(connected("").unwrap_err().to_string().starts_with("`LLM_EMBEDDING_MODEL`: the model in"));
}
