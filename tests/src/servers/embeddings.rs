//! An embeddings service of tests' own that speaks the OpenAI protocol and counts the texts it is sent. Its vectors mean nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Numbers of a vector.
const DIMENSIONS: usize = 16;

/// A service that runs until the process ends.
#[derive(Debug, Clone)]
pub struct Embeddings {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
    keys: Arc<AtomicUsize>,
}

impl Embeddings {
    /// A fresh one; it takes any key.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let service = Self { url: format!("http://{address}/v1"), seen: Arc::default(), keys: Arc::default() };
        let own = service.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || own.serve(stream));
            }
        });
        service
    }

    /// For `LLM_API_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The texts it was sent, in the order they came.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests came with a key.
    pub fn with_key(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut writer = stream.try_clone().ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).ok()? > 2 {
                let (name, value) = line.split_once(':').unwrap_or_default();
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().ok()?,
                    "authorization" => drop(self.keys.fetch_add(1, Ordering::Relaxed)),
                    _ => {}
                }
                line.clear();
            }
            if length == 0 {
                return None;
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let answer = self.answer(&serde_json::from_slice(&body).ok()?).to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
            writer.write_all(head.as_bytes()).ok()?;
            writer.write_all(answer.as_bytes()).ok()?;
        }
    }

    fn answer(&self, request: &Value) -> Value {
        let texts: Vec<String> =
            request["input"].as_array().into_iter().flatten().filter_map(|t| Some(t.as_str()?.to_owned())).collect();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).extend(texts.iter().cloned());
        let vector = |text: &String| -> Vec<f32> {
            Sha256::digest(text.as_bytes()).iter().take(DIMENSIONS).map(|byte| f32::from(*byte) - 127.5).collect()
        };
        let data = texts.iter().enumerate().map(|(at, text)| json!({ "index": at, "embedding": vector(text) }));
        json!({ "object": "list", "model": request["model"], "data": data.collect::<Vec<_>>() })
    }
}
