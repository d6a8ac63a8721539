//! The client of one bucket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use url::Url;

use super::breaker::Breaker;
use super::credentials::Chain;
use super::http::Watched;
use crate::error::{Error, ErrorKind, Result};

/// The option, and the variable: seconds for which a request that fails is tried again.
pub const RETRY_OPTION: &str = "LAKE_RETRY_SECONDS";

/// A file of certificates (PEM) to trust beside the system's.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of the bucket that `url` names. Requests that fail are tried again with random, growing pauses, for a while and as far as the
/// endpoint's budget reaches; an endpoint that has not answered for as long is left alone.
///
/// # Errors
/// [`ErrorKind::Config`] for an option that cannot be.
pub(crate) fn client(url: &Url, options: &HashMap<String, String>) -> Result<AmazonS3> {
    let patience = patience(options)?;
    let endpoint = option(options, "AWS_ENDPOINT_URL_S3").or_else(|| option(options, "AWS_ENDPOINT_URL"));
    let endpoint = endpoint.or_else(|| option(options, "AWS_ENDPOINT")).map(|e| e.trim_end_matches('/').to_owned());
    if let Some(endpoint) = &endpoint {
        check_endpoint(endpoint)?;
    }
    // Pauses are drawn from the least up to `base` times the last: with 2 they often stay small, and many tries are over within seconds. The
    // patience ends them, not their number.
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: Duration::from_millis(50), max_backoff: Duration::from_secs(5), base: 3.0 },
        max_retries: usize::MAX,
        retry_timeout: patience,
    };
    let client = connection(options)?;
    let region = option(options, "AWS_REGION").or_else(|| option(options, "AWS_DEFAULT_REGION")).unwrap_or("us-east-1");
    let breaker = Breaker::of(endpoint.as_deref().unwrap_or(region), patience);
    let mut builder = AmazonS3Builder::new()
        .with_url(url.as_str())
        .with_client_options(client)
        .with_retry(retry)
        .with_http_connector(Watched(breaker));
    for (name, value) in options {
        let name = name.to_ascii_lowercase();
        if name == "aws_conditional_put" && value == "disabled" {
            return Err(Error::new(
                ErrorKind::Config,
                "`AWS_CONDITIONAL_PUT=disabled` would let writers overwrite each other's commits",
            )
            .with_hint("leave it out; for a store without conditional puts set `LAKE_LOCK`"));
        }
        if let Ok(key) = name.parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(endpoint) = &endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    let signs = !option(options, "AWS_SKIP_SIGNATURE").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if signs && option(options, "AWS_ACCESS_KEY_ID").is_none() {
        builder = builder.with_credentials(Arc::new(Chain::new(option(options, "AWS_PROFILE"), region)));
    }
    let build = builder.with_region(region).build();
    build.map_err(|e| Error::new(ErrorKind::Config, format!("cannot use `{url}`: {e}")).with_source(e))
}

/// How connections are made: for how long at most, and whom they trust.
///
/// # Errors
/// [`ErrorKind::Config`] for certificates that cannot be read.
pub(crate) fn connection(options: &HashMap<String, String>) -> Result<ClientOptions> {
    let mut client = ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT);
    if let Some(path) = option(options, CA_BUNDLE) {
        for certificate in certificates(path)? {
            client = client.with_root_certificate(certificate);
        }
    }
    Ok(client)
}

fn option<'a>(options: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
    let found = options.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

fn patience(options: &HashMap<String, String>) -> Result<Duration> {
    let Some(text) = option(options, RETRY_OPTION) else { return Ok(DEFAULT_PATIENCE) };
    text.parse().map(Duration::from_secs).map_err(|e| {
        Error::new(ErrorKind::Config, format!("`{RETRY_OPTION}` is `{text}`, which is no number of seconds"))
            .with_hint("write a whole number, such as 60; 0 never tries again")
            .with_source(e)
    })
}

fn check_endpoint(endpoint: &str) -> Result<()> {
    let wrong = |why: &str| {
        Error::new(ErrorKind::Config, format!("`AWS_ENDPOINT_URL` {why}"))
            .with_hint("write the server's address, such as `http://127.0.0.1:9000` or `https://storage.googleapis.com`")
    };
    match Url::parse(endpoint) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Err(wrong("holds a user name or password")),
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() => Ok(()),
        _ => Err(wrong("is not an `http://` or `https://` address")),
    }
}

fn certificates(path: &str) -> Result<Vec<Certificate>> {
    let wrong = |why: String| {
        Error::new(ErrorKind::Config, format!("`{CA_BUNDLE}`: `{path}` {why}"))
            .with_hint("name a file of certificates in PEM form")
    };
    let text = std::fs::read(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    match Certificate::from_pem_bundle(&text) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong("holds no certificate".into())),
        Err(error) => Err(wrong(format!("is not readable: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(pairs: &[(&str, &str)]) -> Result<AmazonS3> {
        let options = pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        client(&Url::parse("s3://bucket/").unwrap(), &options)
    }

    #[test]
    fn usual_settings_make_a_client() {
        made(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1/"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]).unwrap();
        made(&[("AWS_REGION", "eu-central-1"), ("AWS_PROFILE", "x")]).unwrap();
    }

    #[test]
    fn wrong_settings_are_named() {
        let cases = [
            ("AWS_ENDPOINT_URL", "localhost:9000", "`AWS_ENDPOINT_URL` is not"),
            ("AWS_ENDPOINT_URL", "http://user:secret@h", "`AWS_ENDPOINT_URL` holds"),
            ("AWS_CONDITIONAL_PUT", "disabled", "overwrite each other"),
            ("LAKE_RETRY_SECONDS", "soon", "no number of seconds"),
            ("AWS_CA_BUNDLE", "/nowhere/ca.pem", "`/nowhere/ca.pem` cannot be read"),
        ];
        for (name, value, expected) in cases {
            let error = made(&[(name, value)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
