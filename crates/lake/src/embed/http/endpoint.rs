//! The address that requests go to, and what of it may be shown.

use url::Url;

use super::options::API_URL;
use crate::error::{Error, ErrorKind, Result};

const PATH: &str = "/embeddings";

/// An address of embeddings.
#[derive(Clone)]
pub(super) struct Endpoint {
    /// Where requests go.
    pub(super) url: Url,
    /// The base of it, without what may be secret.
    pub(super) shown: String,
}

impl Endpoint {
    /// The endpoint below the base address `text`, or at it when it ends in `/embeddings`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for what is no address, and for one with a user name or password.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::Config, format!("`{API_URL}` {why}")).with_hint(
                "write the base address of the service, such as `https://api.openai.com/v1` or `http://127.0.0.1:11434/v1`",
            )
        };
        let mut url = match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() => url,
            _ => return Err(wrong("is not an `http://` or `https://` address")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("holds a user name or password").with_hint("put the key in `LLM_API_KEY`, and only there"));
        }
        url.set_fragment(None);
        let path = url.path().trim_end_matches('/');
        let base = path.strip_suffix(PATH).unwrap_or(path).trim_end_matches('/').to_owned();
        url.set_path(&base);
        let mut bare = url.clone();
        bare.set_query(None);
        url.set_path(&format!("{base}{PATH}"));
        Ok(Self { url, shown: bare.as_str().trim_end_matches('/').to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_are_appended_once() {
        let cases = [
            ("https://api.openai.com/v1", "https://api.openai.com/v1/embeddings", "https://api.openai.com/v1"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1/embeddings", "https://api.openai.com/v1"),
            ("http://h:1/v1/embeddings", "http://h:1/v1/embeddings", "http://h:1/v1"),
            ("http://h", "http://h/embeddings", "http://h"),
            ("https://h/d?version=secret#x", "https://h/d/embeddings?version=secret", "https://h/d"),
        ];
        for (given, url, shown) in cases {
            let made = Endpoint::parse(given).unwrap();
            assert_eq!((made.url.as_str(), made.shown.as_str()), (url, shown));
        }
    }

    #[test]
    fn wrong_addresses_are_refused_and_not_repeated() {
        for given in ["secret", "ftp://secret/", "http://user:secret@h/", "http://secret@h/"] {
            let error = Endpoint::parse(given).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().starts_with("`LLM_API_URL`") && !format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
