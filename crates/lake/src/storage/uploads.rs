//! Uploads in parts that nobody finished: a store keeps their parts, and bills them, until someone gives them up.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::path::Path;
use object_store::signer::Signer;
use serde::Deserialize;
use url::Url;

use super::{explain, s3};
use crate::error::{Error, ErrorKind, Result};

/// How often a request is sent when the store does not answer it.
const ATTEMPTS: u32 = 4;

/// For how long an address is signed that is not used.
const SIGNED_FOR: Duration = Duration::from_secs(60);

/// The unfinished uploads of one bucket.
#[derive(Debug)]
pub(crate) struct Uploads {
    client: AmazonS3,
    http: HttpClient,
}

/// An unfinished upload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Upload {
    key: String,
    upload_id: String,
    /// When it was begun, by the store's clock.
    pub(crate) initiated: DateTime<Utc>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
    #[serde(default, rename = "Upload")]
    uploads: Vec<Upload>,
}

impl Uploads {
    /// Those of the bucket that `url` names.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an option that cannot be.
    pub(crate) fn of(url: &Url, options: &HashMap<String, String>) -> Result<Self> {
        let client = s3::client(url, options)?;
        let http = ReqwestConnector::default()
            .connect(&s3::connection(options)?.with_allow_http(true))
            .map_err(|e| Error::new(ErrorKind::Config, "cannot set up the store's client").with_source(e))?;
        Ok(Self { client, http })
    }

    /// The uploads to objects below `prefix`; `None` when the store does not tell, or not this user. Some stores list those of one object only:
    /// they answer with none, and give up old ones themselves.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the store cannot be asked.
    pub(crate) async fn below(&self, prefix: &Path) -> Result<Option<Vec<Upload>>> {
        let mut found: Vec<Upload> = vec![];
        let (mut key, mut id) = (String::new(), String::new());
        loop {
            let mut url = self.address(&Path::from("x")).await?;
            let bucket = url.path().trim_end_matches('x').to_owned();
            url.set_path(&bucket);
            url.query_pairs_mut().append_pair("uploads", "").append_pair("prefix", &format!("{prefix}/"));
            if !key.is_empty() {
                url.query_pairs_mut().append_pair("key-marker", &key).append_pair("upload-id-marker", &id);
            }
            let (status, body) = self.ask("GET", &url).await?;
            if matches!(status, 403 | 405 | 501) {
                tracing::warn!(status, "the store does not tell of unfinished uploads");
                return Ok(None);
            }
            let page = page(&body).filter(|_| status == 200).ok_or_else(|| refused("list unfinished uploads", status))?;
            found.extend(page.uploads);
            if !page.is_truncated || (&page.next_key_marker, &page.next_upload_id_marker) == (&key, &id) {
                return Ok(Some(found));
            }
            (key, id) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    /// Gives an upload up; one that is gone is no error.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the store refuses.
    pub(crate) async fn abort(&self, upload: &Upload) -> Result<()> {
        let path = Path::parse(&upload.key).unwrap_or_else(|_| Path::from(upload.key.as_str()));
        let mut url = self.address(&path).await?;
        url.query_pairs_mut().append_pair("uploadId", &upload.upload_id);
        match self.ask("DELETE", &url).await?.0 {
            200 | 204 | 404 => Ok(()),
            status => Err(refused("give up an unfinished upload", status)),
        }
    }

    /// The address of an object, as the client makes it of its settings.
    async fn address(&self, path: &Path) -> Result<Url> {
        let mut url = self.signed(path).await?;
        url.set_query(None);
        Ok(url)
    }

    async fn signed(&self, path: &Path) -> Result<Url> {
        let method = "GET".parse().map_err(|_| Error::new(ErrorKind::Internal, "no such method"))?;
        self.client.signed_url(method, path, SIGNED_FOR).await.map_err(|e| explain("cannot reach the store", e))
    }

    /// The status and the body of the answer.
    async fn ask(&self, method: &str, url: &Url) -> Result<(u16, Bytes)> {
        let mut attempt = 1;
        loop {
            match self.ask_once(method, url).await {
                Ok((status, _)) if status >= 500 && status != 501 && attempt < ATTEMPTS => {}
                Err(error) if error.kind() == ErrorKind::Storage && attempt < ATTEMPTS => {}
                done => return done,
            }
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..100 << attempt))).await;
            attempt += 1;
        }
    }

    async fn ask_once(&self, method: &str, url: &Url) -> Result<(u16, Bytes)> {
        let internal = || Error::new(ErrorKind::Internal, "a request to the store cannot be made");
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method.parse().map_err(|_| internal())?;
        *request.uri_mut() = url.as_str().parse().map_err(|_| internal())?;
        let fail = |e: object_store::Error| explain("cannot reach the store", e);
        let credential = self.client.credentials().get_credential().await.map_err(fail)?;
        let region = region(&self.signed(&Path::from("x")).await?).unwrap_or_else(|| "us-east-1".to_owned());
        AwsAuthorizer::new(&credential, "s3", &region).authorize(&mut request, None);
        let answer = self.http.execute(request).await.map_err(|e| explain("cannot reach the store", e))?;
        let status = answer.status().as_u16();
        let parts: Vec<Bytes> =
            answer.into_body().bytes_stream().try_collect().await.map_err(|e| explain("cannot reach the store", e))?;
        Ok((status, parts.concat().into()))
    }
}

fn refused(what: &str, status: u16) -> Error {
    Error::new(ErrorKind::Storage, format!("cannot {what}: the store answered with status {status}"))
}

fn page(body: &Bytes) -> Option<Page> {
    quick_xml::de::from_str(std::str::from_utf8(body).ok()?).ok()
}

/// The region that an address was signed for: `X-Amz-Credential` is `<key>/<day>/<region>/s3/aws4_request`.
fn region(signed: &Url) -> Option<String> {
    let (_, credential) = signed.query_pairs().find(|(name, _)| name == "X-Amz-Credential")?;
    credential.rsplit('/').nth(2).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_stores_are_read() {
        let some = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket><KeyMarker></KeyMarker>
<NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker><IsTruncated>true</IsTruncated>
<Upload><Key>silver/posts/a &amp; b.parquet</Key><UploadId>1</UploadId><StorageClass>STANDARD</StorageClass><Initiated>2026-01-31T12:00:00.000Z</Initiated></Upload>
<Upload><Key>k</Key><UploadId>2</UploadId><Initiated>2026-01-31T12:00:01Z</Initiated></Upload></ListMultipartUploadsResult>"#;
        let read = page(&Bytes::from(some)).unwrap();
        assert_eq!((read.is_truncated, read.next_key_marker.as_str(), read.uploads.len()), (true, "k", 2));
        assert_eq!((read.uploads[0].key.as_str(), read.uploads[0].upload_id.as_str()), ("silver/posts/a & b.parquet", "1"));
        let none = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        assert!(page(&Bytes::from(none)).unwrap().uploads.is_empty());
        assert!(page(&Bytes::from("<html>")).is_none());
    }

    #[tokio::test]
    async fn addresses_and_regions_are_those_of_the_client() {
        let options = [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
            ("AWS_ACCESS_KEY_ID", "key/with/slashes"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_REGION", "eu-central-1"),
        ];
        let options = options.map(|(n, v)| (n.to_string(), v.to_string())).into();
        let uploads = Uploads::of(&Url::parse("s3://bucket/lake/").unwrap(), &options).unwrap();
        let url = uploads.address(&Path::from("lake/a b")).await.unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:9/bucket/lake/a%20b");
        assert_eq!(region(&uploads.signed(&Path::from("x")).await.unwrap()).as_deref(), Some("eu-central-1"));
    }
}
