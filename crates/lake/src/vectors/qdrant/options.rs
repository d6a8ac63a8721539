//! Where a Qdrant is, and how it is reached.

use std::fmt;
use std::time::Duration;

use qdrant_client::Qdrant as Client;
use qdrant_client::config::QdrantConfig;
use url::{Host, Url};

use crate::error::{Error, ErrorKind, Result};

/// Qdrant's port for gRPC.
const PORT: u16 = 6334;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a Qdrant is, and how it is reached.
#[derive(Clone)]
pub struct QdrantOptions {
    /// `http://host:port` or `https://host:port` of its gRPC; the port may be left out when it is 6334.
    pub url: String,
    /// The key that it asks for, if it does.
    pub api_key: Option<String>,
    /// For how long a request that fails in passing is tried again; with 0 never.
    pub patience: Duration,
    /// Searches compare with every point of the workspace instead of following the index, which finds nearly all of the nearest.
    pub exact: bool,
    /// What the names of collections begin with: letters, digits, `_` and `-`.
    pub prefix: String,
}

impl Default for QdrantOptions {
    fn default() -> Self {
        let (url, patience) = (format!("http://localhost:{PORT}"), Duration::from_secs(60));
        Self { url, api_key: None, patience, exact: false, prefix: String::new() }
    }
}

impl fmt::Debug for QdrantOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password: it is not checked yet.
        f.debug_struct("QdrantOptions").field("patience", &self.patience).field("exact", &self.exact).finish_non_exhaustive()
    }
}

/// The address without anything secret, and a client of it that has not connected yet.
///
/// # Errors
/// [`ErrorKind::Config`] for a URL or a key that cannot be.
pub(super) fn client(options: &QdrantOptions) -> Result<(String, Client)> {
    let (address, host_is_here) = address(&options.url)?;
    if !options.prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Err(Error::new(ErrorKind::Config, "`QDRANT_COLLECTION_PREFIX` cannot begin a name")
            .with_hint("use letters, digits, `_` and `-`"));
    }
    let api_key = options.api_key.as_deref().map(str::trim).filter(|key| !key.is_empty());
    if let Some(key) = api_key {
        if !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::new(ErrorKind::Config, "`QDRANT_API_KEY` holds a character that no key has"));
        }
        if address.starts_with("http://") && !host_is_here {
            tracing::warn!(url = address, "the Qdrant key travels in the clear: use `https://` in `QDRANT_URL`");
        }
    }
    let mut config = QdrantConfig::from_url(&address).skip_compatibility_check().connect_timeout(CONNECT_TIMEOUT);
    config.set_timeout(options.patience.clamp(CONNECT_TIMEOUT, REQUEST_TIMEOUT));
    config.api_key = api_key.map(str::to_owned);
    let client = Client::new(config).map_err(|_| wrong("is not an address"))?;
    Ok((address, client))
}

/// The address as `scheme://host:port`, and whether the host is this machine.
fn address(text: &str) -> Result<(String, bool)> {
    let text = text.trim();
    let url = Url::parse(text).map_err(|_| wrong("is not an `http://` or `https://` address"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user name or password").with_hint("the key belongs in `QDRANT_API_KEY`"));
    }
    let host = url.host().filter(|_| matches!(url.scheme(), "http" | "https"));
    let Some(host) = host else { return Err(wrong("is not an `http://` or `https://` address")) };
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("holds more than a host and a port"));
    }
    // A scheme's own port is no port to `Url`, even when it is written.
    let written = text.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok());
    let port = url.port().or(written).unwrap_or(PORT);
    let here = match &host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    };
    Ok((format!("{}://{host}:{port}", url.scheme()), here))
}

fn wrong(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("`QDRANT_URL` {why}"))
        .with_hint("write the address of Qdrant's gRPC, such as `http://localhost:6334`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_grpc_unless_written() {
        let cases = [
            ("http://localhost", "http://localhost:6334", true),
            ("https://q.example.com", "https://q.example.com:6334", false),
            ("https://q.example.com:443/", "https://q.example.com:443", false),
            (" http://127.0.0.1:7000 ", "http://127.0.0.1:7000", true),
            ("http://[::1]", "http://[::1]:6334", true),
        ];
        for (text, expected, here) in cases {
            assert_eq!(address(text).unwrap(), (expected.into(), here), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_named_without_secrets() {
        let cases =
            ["localhost:6334", "", "grpc://h", "http://user:secret@h", "http://h/secret", "http://h?secret", "file:///secret"];
        for url in cases {
            let options = QdrantOptions { url: url.into(), ..QdrantOptions::default() };
            let error = client(&options).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().starts_with("`QDRANT_URL` "), "{error}");
            assert!(!format!("{error:?}{options:?}").contains("secret"), "{error:?}");
        }
        let options = QdrantOptions { api_key: Some("sec\nret".into()), ..QdrantOptions::default() };
        let error = client(&options).map(drop).unwrap_err();
        assert!(error.to_string().contains("`QDRANT_API_KEY`"), "{error}");
        assert!(!format!("{error:?}{options:?}").contains("nret"), "{error:?}");
    }
}
