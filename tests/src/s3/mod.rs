//! The least of S3 that tests need to prepare a bucket, to look into it and to race for a key: whole objects, one request at a time,
//! no retries. It shares no code with the client under test, and it blocks, so that it works inside of a runtime and without one.

mod http;
mod sign;

use std::fmt;
use std::net::SocketAddr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

pub use http::Answer;
pub use sign::{Signable, payload_hash, signature, stamp};

/// What is percent-encoded in a path; queries encode the slash too.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const QUERY: &AsciiSet = &PATH.add(b'/');

/// A server and how to sign in.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS. [`Bucket`] does not.
    pub tls: bool,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

impl Endpoint {
    /// The region that every server of the tests is in.
    pub const REGION: &str = "us-east-1";

    /// The URL of the server.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// The same server reached through another address, such as that of a proxy.
    pub fn through(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// The settings with which `lake`, `object_store`, Polars and `deltalake` reach it, as environment variables.
    pub fn env(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
            ("AWS_REGION", Self::REGION.to_string()),
            ("AWS_ALLOW_HTTP", (!self.tls).to_string()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }

    /// The text of a request, signed, that every server answers with 200 as soon as it can serve.
    pub(crate) fn first_request(&self) -> String {
        let (host, date, hash) = (self.address.to_string(), stamp(chrono::Utc::now()), payload_hash(b""));
        let headers = [("host", &*host), ("x-amz-content-sha256", &hash), ("x-amz-date", &date)];
        let authorization = signature(self, &Signable { method: "GET", path: "/", query: "", headers: &headers });
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("GET / HTTP/1.0\r\n{lines}authorization: {authorization}\r\n\r\n")
    }

    /// A bucket of it, made if there is none.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn bucket(&self, name: &str) -> Bucket {
        let bucket = Bucket { endpoint: self.clone(), name: name.to_string() };
        let answer = bucket.send("PUT", "", "", &[], b"");
        assert!(matches!(answer.status, 200 | 409), "the bucket `{name}` cannot be made: {answer:?}");
        bucket
    }
}

/// A bucket of a server.
#[derive(Debug, Clone)]
pub struct Bucket {
    endpoint: Endpoint,
    name: String,
}

impl Bucket {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The same bucket reached through another address, such as that of a proxy.
    pub fn through(&self, address: SocketAddr) -> Self {
        Self { endpoint: self.endpoint.through(address), name: self.name.clone() }
    }

    /// Writes an object, whatever was there.
    ///
    /// # Panics
    /// When it is not written.
    pub fn put(&self, key: &str, content: &[u8]) {
        let answer = self.send("PUT", key, "", &[], content);
        assert_eq!(answer.status, 200, "PUT {key}: {answer:?}");
    }

    /// Writes an object unless there is one: the answer says 200 or 412.
    ///
    /// # Errors
    /// When the connection ends without a whole answer.
    pub fn put_if_absent(&self, key: &str, content: &[u8]) -> std::io::Result<Answer> {
        self.try_send("PUT", key, "", &[("if-none-match", "*")], content)
    }

    /// An object; `None` when there is none.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.send("GET", key, "", &[], b"");
        match answer.status {
            200 => Some(answer.body),
            404 => None,
            _ => panic!("GET {key}: {answer:?}"),
        }
    }

    /// Takes an object away; it need not exist.
    ///
    /// # Panics
    /// When that fails.
    pub fn delete(&self, key: &str) {
        let answer = self.send("DELETE", key, "", &[], b"");
        assert_eq!(answer.status, 204, "DELETE {key}: {answer:?}");
    }

    /// The keys that begin with `prefix` and the sizes of their objects, sorted.
    ///
    /// # Panics
    /// When they cannot be listed.
    pub fn list(&self, prefix: &str) -> Vec<(String, u64)> {
        let (mut found, mut token) = (vec![], String::new());
        loop {
            let prefix = utf8_percent_encode(prefix, QUERY);
            let query = format!("{token}encoding-type=url&list-type=2&prefix={prefix}");
            let answer = self.send("GET", "", &query, &[], b"");
            assert_eq!(answer.status, 200, "{answer:?}");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            found.extend(text.split("<Contents>").skip(1).map(|entry| {
                let size = element(entry, "Size").and_then(|s| s.parse().ok());
                (decoded(element(entry, "Key").unwrap_or_default()), size.unwrap_or_default())
            }));
            match element(&text, "NextContinuationToken") {
                Some(next) => token = format!("continuation-token={}&", utf8_percent_encode(next, QUERY)),
                None => return found,
            }
        }
    }

    /// Sends any request and gives its answer, whatever it says.
    ///
    /// # Errors
    /// When the connection ends without a whole answer.
    pub fn try_send(
        &self,
        method: &str,
        key: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let path = format!("/{}/{}", self.name, utf8_percent_encode(key, PATH));
        let host = self.endpoint.address.to_string();
        let (date, hash) = (stamp(chrono::Utc::now()), payload_hash(body));
        let mut all: Vec<(&str, &str)> = vec![("host", &host), ("x-amz-content-sha256", &hash), ("x-amz-date", &date)];
        all.extend(headers);
        let authorization = signature(&self.endpoint, &Signable { method, path: &path, query, headers: &all });
        all.push(("authorization", &authorization));
        let target = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        http::send(self.endpoint.address, method, &target, &all, body)
    }

    fn send(&self, method: &str, key: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, key, query, headers, body).unwrap_or_else(|error| panic!("{method} {key}: {error}"))
    }
}

/// The text of the first element of this name in a piece of XML; enough for keys that are percent-encoded.
pub(crate) fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0)
}

/// A key as a listing of `encoding-type=url` has it, where a blank may be a plus.
pub(crate) fn decoded(key: &str) -> String {
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}
