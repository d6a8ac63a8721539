//! AWS signatures, version 4, of a request's headers.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::Endpoint;

/// The parts of a request that a signature covers. Path and query are percent-encoded as they are sent; the headers have lower-case names,
/// and `x-amz-date` is among them.
#[derive(Debug, Clone, Copy)]
pub struct Signable<'a> {
    /// The method.
    pub method: &'a str,
    /// The path.
    pub path: &'a str,
    /// The query, without the question mark.
    pub query: &'a str,
    /// The headers to sign.
    pub headers: &'a [(&'a str, &'a str)],
}

impl Signable<'_> {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    /// The names of the signed headers and the canonical request.
    fn canonical(&self) -> (String, String) {
        let mut headers = self.headers.to_vec();
        headers.sort_unstable();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let mut query: Vec<String> = self.query.split('&').filter(|p| !p.is_empty()).map(with_equals_sign).collect();
        query.sort_unstable();
        let hash = self.header("x-amz-content-sha256");
        (names.clone(), format!("{}\n{}\n{}\n{lines}\n{names}\n{hash}", self.method, self.path, query.join("&")))
    }
}

fn with_equals_sign(parameter: &str) -> String {
    if parameter.contains('=') { parameter.to_string() } else { format!("{parameter}=") }
}

/// The value of `authorization` for a request.
pub fn signature(endpoint: &Endpoint, request: &Signable<'_>) -> String {
    let date = request.header("x-amz-date");
    let day = date.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/s3/aws4_request", Endpoint::REGION);
    let (names, canonical) = request.canonical();
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", payload_hash(canonical.as_bytes()));
    let start = format!("AWS4{}", endpoint.secret_key).into_bytes();
    let key = [day, Endpoint::REGION, "s3", "aws4_request"].iter().fold(start, |key, part| hmac(&key, part.as_bytes()));
    let signature = hex(&hmac(&key, text.as_bytes()));
    format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", endpoint.access_key)
}

/// A time as `x-amz-date` has it.
pub fn stamp(time: DateTime<Utc>) -> String {
    time.format("%Y%m%dT%H%M%SZ").to_string()
}

/// The value of `x-amz-content-sha256` for a body.
pub fn payload_hash(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second case of RFC 4231.
    #[test]
    fn hmac_is_that_of_the_standard() {
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&hmac(b"Jefe", b"what do ya want for nothing?")), expected);
    }
}
