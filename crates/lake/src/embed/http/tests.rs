//! The embedder against a server that behaves as each test wants.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

const KEY: &str = "sk-Hidden0123456789";
const TEXT: &str = "Jane Doe pays with 40004444";

/// What the server was asked.
#[derive(Debug, Clone)]
struct Asked {
    path: String,
    key: Option<String>,
    body: Value,
}

impl Asked {
    fn texts(&self) -> Vec<&str> {
        self.body["input"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect()
    }
}

/// What it answers.
#[derive(Clone, Default)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    pause: Duration,
    /// The connection ends in the middle of the body.
    cut: bool,
}

impl Reply {
    fn error(status: u16, message: &str) -> Self {
        Self { status, body: json!({ "error": { "message": message } }).to_string(), ..Self::default() }
    }

    fn vectors(vectors: &[Vec<f32>]) -> Self {
        let data: Vec<Value> = vectors.iter().enumerate().map(|(i, v)| json!({ "index": i, "embedding": v })).collect();
        Self { status: 200, body: json!({ "data": data }).to_string(), ..Self::default() }
    }

    /// The right answer.
    fn right(asked: &Asked) -> Self {
        Self::vectors(&asked.texts().into_iter().map(raw).collect::<Vec<_>>())
    }
}

fn raw(text: &str) -> Vec<f32> {
    vec![text.len() as f32, f32::from(text.as_bytes()[0]), text.bytes().map(f32::from).sum()]
}

fn right(texts: &[String]) -> Vec<Vec<f32>> {
    texts.iter().map(|text| unit(raw(text)).unwrap()).collect()
}

#[derive(Default)]
struct Log {
    asked: Mutex<Vec<Asked>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A server on a port of its own, until the test ends.
struct Server {
    url: String,
    log: Arc<Log>,
}

impl Server {
    async fn start(reply: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (log, reply) = (Arc::new(Log::default()), Arc::new(reply));
        let seen = log.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (log, reply) = (seen.clone(), reply.clone());
                let service = service_fn(move |request| serve(request, log.clone(), reply.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
            }
        });
        Self { url, log }
    }

    fn options(&self) -> HttpEmbedderOptions {
        HttpEmbedderOptions { key: Some(KEY.into()), ..HttpEmbedderOptions::new(&self.url, "model-1") }
    }

    fn embedder(&self) -> HttpEmbedder {
        HttpEmbedder::new(self.options()).unwrap()
    }

    fn asked(&self) -> Vec<Asked> {
        self.log.asked.lock().unwrap().clone()
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

async fn serve<R>(request: Request<Incoming>, log: Arc<Log>, reply: Arc<R>) -> Result<Response<Body>, Infallible>
where
    R: Fn(usize, &Asked) -> Reply,
{
    let now = log.now.fetch_add(1, Ordering::SeqCst) + 1;
    log.most.fetch_max(now, Ordering::SeqCst);
    let (head, body) = request.into_parts();
    let key = head.headers.get("authorization").map(|k| k.to_str().unwrap().to_owned());
    let body = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    let asked = Asked { path: head.uri.to_string(), key, body };
    let number = {
        let mut all = log.asked.lock().unwrap();
        all.push(asked.clone());
        all.len()
    };
    let reply = reply(number, &asked);
    tokio::time::sleep(reply.pause).await;
    log.now.fetch_sub(1, Ordering::SeqCst);
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    let body = Bytes::from(reply.body);
    let body = if reply.cut {
        let half = Ok(Frame::data(body.slice(..body.len() / 2)));
        BodyExt::boxed(StreamBody::new(stream::iter([half, Err(std::io::Error::other("cut"))])))
    } else {
        Full::new(body).map_err(|e| match e {}).boxed()
    };
    Ok(response.body(body).unwrap())
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n} {}", "x".repeat(n % 7))).collect()
}

/// The error of one try at `texts`, which shows neither them nor the key.
async fn failure(server: &Server, patience: u64, texts: &[String]) -> Error {
    let options = HttpEmbedderOptions { patience: Duration::from_secs(patience), ..server.options() };
    let embedder = HttpEmbedder::new(options).unwrap();
    let error = embedder.embed(texts).await.unwrap_err();
    let all = format!("{error} {error:?} {embedder:?} {}", embedder.name()).to_lowercase();
    for secret in ["hidden", "012345", "jane", "doe", "40004444"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    error
}

async fn failure_of(reply: Reply) -> Error {
    let server = Server::start(move |_, _| reply.clone()).await;
    failure(&server, 0, &[TEXT.to_owned()]).await
}

#[tokio::test]
async fn vectors_are_asked_for_as_openai_has_it() {
    let server = Server::start(|_, asked| Reply::right(asked)).await;
    let embedder = HttpEmbedder::new(HttpEmbedderOptions { dimensions: Some(3), ..server.options() }).unwrap();
    assert_eq!(embedder.embed(&texts(2)).await.unwrap(), right(&texts(2)));
    let asked = &server.asked()[0];
    assert_eq!((asked.path.as_str(), asked.key.as_deref()), ("/v1/embeddings", Some(format!("Bearer {KEY}").as_str())));
    assert_eq!(asked.body, json!({ "model": "model-1", "input": texts(2), "encoding_format": "float", "dimensions": 3 }));
    assert_eq!(embedder.name(), format!("{} model-1/3", server.url));
    assert!(embedder.embed(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn without_a_key_none_is_sent() {
    let server = Server::start(|_, asked| Reply::right(asked)).await;
    HttpEmbedder::new(HttpEmbedderOptions { key: None, ..server.options() }).unwrap().embed(&texts(1)).await.unwrap();
    assert_eq!(server.asked()[0].key, None);
    assert!(server.asked()[0].body.get("dimensions").is_none());
}

#[tokio::test]
async fn batches_are_bounded_by_count_and_by_bytes() {
    let server = Server::start(|_, asked| Reply::right(asked)).await;
    let embedder = HttpEmbedder::new(HttpEmbedderOptions { batch: 10, ..server.options() }).unwrap();
    let mut all = texts(25);
    all.extend([MOST_BYTES / 2, MOST_BYTES / 2, 1, MOST_BYTES + 1, 2].map(|n| "y".repeat(n)));
    assert_eq!(embedder.embed(&all).await.unwrap(), right(&all));
    let mut sizes: Vec<usize> = server.asked().iter().map(|a| a.texts().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1, 2, 6, 10, 10]);
}

#[tokio::test]
async fn order_is_kept_however_answers_come() {
    let server = Server::start(|number, asked| {
        let mut reply = Reply::right(asked);
        let mut body: Value = serde_json::from_str(&reply.body).unwrap();
        body["data"].as_array_mut().unwrap().reverse();
        reply.body = body.to_string();
        Reply { pause: Duration::from_millis(60 / number as u64), ..reply }
    })
    .await;
    let embedder = HttpEmbedder::new(HttpEmbedderOptions { batch: 3, ..server.options() }).unwrap();
    assert_eq!(embedder.embed(&texts(31)).await.unwrap(), right(&texts(31)));
}

#[tokio::test]
async fn no_more_requests_go_at_a_time_than_may() {
    let server = Server::start(|_, asked| Reply { pause: Duration::from_millis(30), ..Reply::right(asked) }).await;
    let embedder = HttpEmbedder::new(HttpEmbedderOptions { batch: 1, concurrency: 3, ..server.options() }).unwrap();
    let (left, right) = (texts(9), texts(9));
    let (one, two) = tokio::join!(embedder.embed(&left), embedder.embed(&right));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(server.log.most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn requests_per_minute_are_kept() {
    let server = Server::start(|_, asked| Reply::right(asked)).await;
    let options = HttpEmbedderOptions { batch: 1, requests_per_minute: Some(600), ..server.options() };
    let begun = Instant::now();
    HttpEmbedder::new(options).unwrap().embed(&texts(4)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_passing_fault_is_passed_over() {
    for status in [408, 409, 429, 500, 503] {
        let server = Server::start(move |number, asked| match number {
            1..=2 => Reply::error(status, "later"),
            _ => Reply::right(asked),
        })
        .await;
        assert_eq!(server.embedder().embed(&texts(3)).await.unwrap(), right(&texts(3)), "{status}");
        assert_eq!(server.asked().len(), 3);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_asked_for_again() {
    let server = Server::start(|number, asked| Reply { cut: number == 1, ..Reply::right(asked) }).await;
    assert_eq!(server.embedder().embed(&texts(50)).await.unwrap(), right(&texts(50)));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn the_service_says_how_long_to_wait_and_all_wait() {
    let wait = |seconds: &str| Reply { headers: vec![("retry-after", seconds.into())], ..Reply::error(429, "slow down") };
    let server = Server::start(move |number, asked| if number == 1 { wait("1") } else { Reply::right(asked) }).await;
    let embedder = HttpEmbedder::new(HttpEmbedderOptions { batch: 1, concurrency: 1, ..server.options() }).unwrap();
    let begun = Instant::now();
    assert_eq!(embedder.embed(&texts(3)).await.unwrap(), right(&texts(3)));
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_wait_beyond_the_patience_is_not_waited_for() {
    let reply = Reply { headers: vec![("retry-after", "3600".into())], ..Reply::error(429, "slow down") };
    let server = Server::start(move |_, _| reply.clone()).await;
    let begun = Instant::now();
    let error = failure(&server, 5, &[TEXT.to_owned()]).await;
    assert_eq!((error.kind(), server.asked().len()), (ErrorKind::Storage, 1));
    assert!(error.to_string().contains("asks to wait 3600 seconds"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn tries_end_with_the_patience() {
    let server = Server::start(|_, _| Reply::error(503, "model is loading for Jane Doe")).await;
    let begun = Instant::now();
    let error = failure(&server, 1, &[TEXT.to_owned()]).await;
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("HTTP status 503: model is loading for …"), "{error}");
    assert!(begun.elapsed() >= Duration::from_secs(1) && server.asked().len() > 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told() {
    let mut server = Server::start(|_, asked| Reply::right(asked)).await;
    server.url = "http://127.0.0.1:1/v1?secret=Hidden".into();
    let error = failure(&server, 0, &[TEXT.to_owned()]).await;
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("`http://127.0.0.1:1/v1` cannot be used"), "{error}");
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved() {
    for status in [400, 413, 422] {
        let server = Server::start(move |_, asked| match asked.texts().len() {
            1..=3 => Reply::right(asked),
            _ => Reply::error(status, "too large"),
        })
        .await;
        assert_eq!(server.embedder().embed(&texts(11)).await.unwrap(), right(&texts(11)));
    }
}

#[tokio::test]
async fn the_text_that_is_refused_is_named_by_its_place() {
    let server = Server::start(|_, asked| match asked.texts().iter().any(|t| t.contains("Jane")) {
        true => Reply::error(400, "maximum context length is 9 tokens, 'Jane Doe' has 12"),
        false => Reply::right(asked),
    })
    .await;
    let mut all = texts(100);
    all[77] = TEXT.into();
    let error = failure(&server, 0, &all).await;
    assert_eq!(error.kind(), ErrorKind::Data);
    let expected = "refuses text 78 of 100 (27 characters): HTTP status 400: maximum context length is 9 tokens, '…' has 12";
    assert!(error.to_string().ends_with(expected), "{error}");
    assert!(error.hint().unwrap().contains("`LLM_EMBEDDING_MAX_TOKENS`"));
}

#[tokio::test]
async fn what_no_text_can_mend_names_its_variable() {
    let parameter = |name: &str| json!({ "error": { "message": "no", "param": name } }).to_string();
    let code = |code: &str| json!({ "error": { "message": "no", "code": code } }).to_string();
    let cases = [
        (401, format!("bad key {KEY}"), ErrorKind::Config, "`LLM_API_KEY`"),
        (403, json!({ "error": format!("{KEY} for {TEXT}") }).to_string(), ErrorKind::Config, "`LLM_API_KEY`"),
        (404, json!({ "error": format!("model not found {KEY}") }).to_string(), ErrorKind::Config, "`LLM_EMBEDDING_MODEL`"),
        (400, parameter("dimensions"), ErrorKind::Config, "`LLM_EMBEDDING_DIMENSIONS`"),
        (400, parameter("model"), ErrorKind::Config, "`LLM_EMBEDDING_MODEL`"),
        (400, code("model_not_found"), ErrorKind::Config, "`LLM_EMBEDDING_MODEL`"),
        (405, String::new(), ErrorKind::Config, "`LLM_API_URL`"),
        (301, String::new(), ErrorKind::Config, "`LLM_API_URL`"),
        (429, code("insufficient_quota"), ErrorKind::Storage, "plan"),
    ];
    for (status, body, kind, named) in cases {
        let error = failure_of(Reply { status, body, ..Reply::default() }).await;
        assert_eq!(error.kind(), kind, "{status}: {error}");
        assert!(error.hint().unwrap().contains(named), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn answers_that_are_no_vectors_are_refused() {
    let cases = [
        (format!("<html>{TEXT} {KEY}"), ErrorKind::Storage, "cannot be read"),
        (json!({ "data": [{ "embedding": TEXT }] }).to_string(), ErrorKind::Storage, "cannot be read"),
        (json!({ "data": [] }).to_string(), ErrorKind::Storage, "has 0 vectors for 1 texts"),
        (r#"{"data":[{"embedding":[1e39,1]}]}"#.into(), ErrorKind::Data, "text 1 of 1 (27 characters) has no direction"),
        (r#"{"data":[{"embedding":[0,0]}]}"#.into(), ErrorKind::Data, "has no direction"),
        (r#"{"data":[{"embedding":[]}]}"#.into(), ErrorKind::Data, "has no direction"),
    ];
    for (body, kind, said) in cases {
        let error = failure_of(Reply { status: 200, body, ..Reply::default() }).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn other_dimensions_than_before_are_refused() {
    let server = Server::start(|number, _| Reply::vectors(&[vec![1.0; if number == 1 { 3 } else { 4 }]])).await;
    let embedder = server.embedder();
    assert_eq!(embedder.dimensions().await.unwrap(), 3);
    assert_eq!((embedder.dimensions().await.unwrap(), server.asked().len()), (3, 1), "asked once");
    let error = embedder.embed(&texts(1)).await.unwrap_err();
    assert!(error.to_string().contains("of 4 numbers, and gave some of 3 before"), "{error}");
    let configured = HttpEmbedder::new(HttpEmbedderOptions { dimensions: Some(5), ..server.options() }).unwrap();
    let error = configured.embed(&texts(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`LLM_EMBEDDING_DIMENSIONS` is 5") && error.to_string().contains("4 numbers"), "{error}");
}

fn tokenizer() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let vocabulary = json!({ "[UNK]": 0, "one": 1, "two": 2, "three": 3 });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "post_processor": null,
        "decoder": null, "pre_tokenizer": { "type": "Whitespace" },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" },
    });
    std::fs::write(file.path(), tokenizer.to_string()).unwrap();
    file
}

#[tokio::test]
async fn long_texts_are_cut_at_a_token() {
    let (server, file) = (Server::start(|_, asked| Reply::right(asked)).await, tokenizer());
    let options = HttpEmbedderOptions { max_tokens: Some(2), tokenizer: Some(file.path().into()), ..server.options() };
    let embedder = HttpEmbedder::new(options).unwrap();
    embedder.embed(&["one two three".into(), "größe, two".into(), "two three".into()]).await.unwrap();
    assert_eq!(server.asked()[0].texts(), ["one two", "größe,", "two three"]);
    assert_eq!(embedder.tokens("one two three"), Some(3));
    assert!(embedder.name().starts_with(&format!("{} model-1 cut=2@", server.url)), "{}", embedder.name());
}

#[test]
fn options_that_cannot_be_are_refused() {
    let usual = || HttpEmbedderOptions::new("http://h/v1", "m");
    let file = tokenizer();
    let cases = [
        (HttpEmbedderOptions { url: "h".into(), ..usual() }, "`LLM_API_URL`"),
        (HttpEmbedderOptions { key: Some("Hidden\n".into()), ..usual() }, "`LLM_API_KEY`"),
        (HttpEmbedderOptions { model: " ".into(), ..usual() }, "`LLM_EMBEDDING_MODEL`"),
        (HttpEmbedderOptions { batch: 0, ..usual() }, "`LLM_EMBEDDING_BATCH`"),
        (HttpEmbedderOptions { max_tokens: Some(5), ..usual() }, "`LLM_EMBEDDING_MAX_TOKENS` needs a tokenizer"),
        (HttpEmbedderOptions { tokenizer: Some("/nowhere.json".into()), ..usual() }, "`LLM_TOKENIZER`: `/nowhere.json`"),
        (HttpEmbedderOptions { tokenizer: Some("/proc/version".into()), ..usual() }, "`LLM_TOKENIZER`: `/proc/version`"),
        (
            HttpEmbedderOptions { max_tokens: Some(0), tokenizer: Some(file.path().into()), ..usual() },
            "`LLM_EMBEDDING_MAX_TOKENS` is 0",
        ),
    ];
    for (options, named) in cases {
        let error = HttpEmbedder::new(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(named) && !format!("{error:?}").contains("Hidden"), "{error:?}");
    }
}
