//! Sources on S3: the contract on a real server, the same rows as from disk, faults on the way, and keys that go nowhere else.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lake::ErrorKind;
use lake_jobs::CancellationToken;
use lake_jobs::ingest::format::Input;
use lake_jobs::ingest::source::contract::Subject;
use lake_jobs::ingest::source::{S3Store, SourceStore};
use lake_tests::bench::Bench;
use lake_tests::binary::table;
use lake_tests::proxy::{Fault, Proxy, Rule};
use lake_tests::s3::{Bucket, Endpoint};
use lake_tests::servers::minio;
use serde_json::Value;

/// A bucket of its own for each test.
fn bucket() -> Bucket {
    static BUCKETS: AtomicUsize = AtomicUsize::new(0);
    minio().endpoint().bucket(&format!("sources-{}-{}", std::process::id(), BUCKETS.fetch_add(1, Ordering::Relaxed)))
}

/// How sources on `endpoint` are reached, as environment variables.
fn source_env(endpoint: &Endpoint) -> HashMap<String, String> {
    endpoint.env().into_iter().map(|(name, value)| (format!("SOURCE_{name}"), value)).collect()
}

fn store(bucket: &Bucket, endpoint: &Endpoint) -> S3Store {
    S3Store::connect(&format!("s3://{}", bucket.name()), &source_env(endpoint), &HashMap::new()).unwrap()
}

#[async_trait]
impl Subject for Place {
    fn store(&self) -> Arc<dyn SourceStore> {
        Arc::new(store(&self.0, self.0.endpoint()))
    }

    fn root(&self) -> String {
        format!("s3://{}/", self.0.name())
    }

    async fn put(&self, name: &str, content: &[u8]) {
        self.0.put(name, content);
    }

    async fn remove(&self, name: &str) {
        self.0.delete(name);
    }
}

struct Place(Bucket);

mod promises {
    use super::*;

    lake_jobs::source_contract!(Place(bucket()));
}

/// A lake on disk whose sources are reached so.
fn bench(sources: &HashMap<String, String>) -> Bench {
    sources.iter().fold(Bench::new(), |bench, (name, value)| bench.with_env(name, value)).with_env("LAKE_RETRY_SECONDS", "2")
}

fn pipeline(bench: &Bench, path: &str, format: &str) -> String {
    let text = format!(
        "name: feeds\nbronze:\n  posts:\n    method: file_ingest\n    inputs: {{ path: \"{path}\", format: {format} }}\n"
    );
    let file = bench.path("feeds.yaml");
    std::fs::write(&file, text).unwrap();
    file.to_string_lossy().into_owned()
}

fn query(bench: &Bench, sql: &str) -> Value {
    bench.run(["query", sql, "--output", "json"]).succeeded().json()
}

/// The records without what tells where they are from, sorted.
fn records(bench: &Bench) -> Vec<String> {
    let rows = query(bench, "SELECT * EXCEPT (_ingested_at, _run_id, _source) FROM bronze.posts");
    let mut rows: Vec<_> = rows.as_array().unwrap().iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

fn refused(bench: &Bench, path: &str) -> String {
    let file = pipeline(bench, path, "ndjson");
    let refused = bench.run(["validate", &file]);
    assert_eq!(refused.code(), 2, "{}", refused.stderr());
    let said = refused.stderr();
    assert!(said.contains("feeds.yaml:5:"), "no place: {said}");
    said
}

#[test]
fn a_bucket_reads_as_a_folder_does_and_only_what_is_new() {
    let bucket = bucket();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/quickstart/posts");
    for entry in std::fs::read_dir(&data).unwrap().map(Result::unwrap) {
        let key = format!("feeds/posts/{}", entry.file_name().to_string_lossy());
        bucket.put(&key, &std::fs::read(entry.path()).unwrap());
    }
    let (remote, local) = (bench(&source_env(bucket.endpoint())), Bench::new());
    let file = pipeline(&remote, &format!("s3://{}/feeds/posts/*", bucket.name()), "ndjson");
    let report = remote.run_pipeline(&file);
    local.run_pipeline(&pipeline(&local, &format!("{}/*", data.display()), "ndjson"));
    let (found, expected) = (records(&remote), records(&local));
    assert!(expected.len() > 1000);
    assert!(found == expected, "the rows differ");
    let sources = query(&remote, "SELECT DISTINCT _source FROM bronze.posts ORDER BY 1");
    assert_eq!(sources[0]["_source"], format!("s3://{}/feeds/posts/part-1.ndjson", bucket.name()));
    assert_eq!(table(&report, "bronze.posts")["files_read"], 4);
    assert_eq!(table(&remote.run_pipeline(&file), "bronze.posts")["status"], "unchanged");
    bucket.put("feeds/posts/part-5.ndjson", b"{\"id\":\"new\"}\n");
    assert_eq!(table(&remote.run_pipeline(&file), "bronze.posts")["rows_read"], 1);
}

#[test]
fn a_line_that_breaks_goes_on_where_it_broke() {
    let bucket = bucket();
    let line = |i: usize| {
        format!("{{\"id\":\"{i}\",\"text\":\"{}\"}}\n", format!("{:x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(12))
    };
    let content: String = (0..60_000).map(line).collect();
    assert!(content.len() > 10 << 20);
    bucket.put("posts.ndjson", content.as_bytes());
    let proxy = Proxy::before(bucket.endpoint(), 11);
    let of_data = |fault, chance| Rule::new(fault).on("posts.ndjson").chance(chance);
    proxy.set_faults([of_data(Fault::Truncate, 0.3), of_data(Fault::CutBefore, 0.1), of_data(Fault::Refuse(503), 0.1)]);
    let bench = bench(&source_env(&proxy.endpoint())).with_env("LAKE_RETRY_SECONDS", "60");
    bench.run_pipeline(&pipeline(&bench, &format!("s3://{}/posts.ndjson", bucket.name()), "ndjson"));
    let counted = query(&bench, "SELECT count(*) AS n, count(DISTINCT id) AS d, sum(length(text)) AS l FROM bronze.posts");
    let length: usize = content.lines().map(|l| l.len() - 19 - l.split('"').nth(3).unwrap_or_default().len()).sum();
    assert_eq!((&counted[0]["n"], &counted[0]["d"]), (&60_000.into(), &60_000.into()));
    assert_eq!(counted[0]["l"], length);
    assert!(proxy.count(|seen| seen.fault == Some(Fault::Truncate)) > 0, "nothing broke");
}

/// What a server was sent, which refuses everything.
fn eavesdropper() -> (Endpoint, Arc<Mutex<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::<Mutex<String>>::default());
    let kept = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let mut stream = stream;
            let mut buffer = [0; 16 << 10];
            let length = stream.read(&mut buffer).unwrap_or_default();
            kept.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    let endpoint = Endpoint { address, tls: false, access_key: "FOREIGNKEY".into(), secret_key: "foreign-secret".into() };
    (endpoint, heard)
}

#[test]
fn a_foreign_server_is_never_sent_the_lakes_keys() {
    let (foreign, heard) = eavesdropper();
    let own = [("AWS_ACCESS_KEY_ID", "LAKEKEY"), ("AWS_SECRET_ACCESS_KEY", "lake-hunter2"), ("AWS_SESSION_TOKEN", "LAKETOKEN")];
    let lakes = |bench: Bench| own.iter().fold(bench, |bench, (name, value)| bench.with_env(name, value));
    let said = refused(&lakes(bench(&source_env(&foreign))), "s3://feeds/posts/*.ndjson");
    assert!(said.contains("`SOURCE_FEEDS_AWS_ACCESS_KEY_ID`"), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("foreign-secret"), "{said}");
    let sent = std::mem::take(&mut *heard.lock().unwrap());
    assert!(sent.contains("Credential=FOREIGNKEY/"), "{sent}");
    assert!(!sent.contains("LAKEKEY") && !sent.to_lowercase().contains("x-amz-security-token"), "{sent}");
    let endpoint_only = HashMap::from([("SOURCE_AWS_ENDPOINT_URL".to_string(), foreign.url())]);
    let said = refused(&lakes(bench(&endpoint_only)), "s3://feeds/posts/*.ndjson");
    assert!(said.contains("there are no keys for the bucket `feeds`") && said.contains("SOURCE_AWS_SKIP_SIGNATURE"), "{said}");
    let public = [("SOURCE_AWS_ENDPOINT_URL".to_string(), foreign.url()), ("SOURCE_AWS_SKIP_SIGNATURE".into(), "true".into())];
    refused(&lakes(bench(&public.into())), "s3://feeds/posts/*.ndjson");
    let sent = heard.lock().unwrap().clone();
    assert!(sent.contains("GET /feeds") && !sent.to_lowercase().contains("authorization:"), "{sent}");
}

#[test]
fn one_bucket_may_have_keys_of_its_own() {
    let bucket = bucket();
    bucket.put("posts.ndjson", b"{\"id\":\"1\"}\n");
    let (foreign, heard) = eavesdropper();
    let own = format!("SOURCE_{}_", bucket.name().to_uppercase().replace('-', "_"));
    let mut sources = source_env(&foreign);
    sources.extend(bucket.endpoint().env().into_iter().map(|(name, value)| (format!("{own}{name}"), value)));
    let bench = bench(&sources);
    let report = bench.run_pipeline(&pipeline(&bench, &format!("s3://{}/posts.ndjson", bucket.name()), "ndjson"));
    assert_eq!(table(&report, "bronze.posts")["rows_written"], 1);
    assert_eq!(*heard.lock().unwrap(), "");
}

#[test]
fn a_source_that_cannot_be_reached_is_told_at_its_place_with_the_remedy() {
    let bucket = bucket();
    bucket.put("data/posts/a.ndjson", b"{\"id\":\"1\"}\n");
    let sources = source_env(bucket.endpoint());
    let with = |name: &str, value: &str| {
        let mut changed = sources.clone();
        changed.insert(name.into(), value.into());
        bench(&changed)
    };
    let path = format!("s3://{}/data/posts/*.ndjson", bucket.name());
    let cases = [
        (bench(&sources), "s3://no-such-bucket/x.ndjson", "bucket does not exist", "SOURCE_AWS_ENDPOINT_URL"),
        (bench(&sources), &path.replace("posts", "post"), "no file matches", "did you mean `posts`?"),
        (with("SOURCE_AWS_SECRET_ACCESS_KEY", "hunter2"), &path, "secret key is wrong", "`SOURCE_AWS_SECRET_ACCESS_KEY`"),
        (with("SOURCE_AWS_ACCESS_KEY_ID", "nobody"), &path, "does not know the access key", "`SOURCE_AWS_ACCESS_KEY_ID`"),
        (with("SOURCE_AWS_ENDPOINT_URL", "http://127.0.0.1:1"), &path, "cannot be reached", "SOURCE_AWS_ENDPOINT_URL"),
        (with("SOURCE_AWS_ACCES_KEY_ID", "x"), &path, "is no setting of a source", "`SOURCE_AWS_ACCESS_KEY_ID`"),
    ];
    for (bench, path, message, hint) in cases {
        let said = refused(&bench, path);
        assert!(said.contains(message) && said.contains(hint) && !said.contains("hunter2"), "{path}: {said}");
    }
}

/// The file's reader; nothing is read yet.
async fn stream(store: &S3Store, path: &str, stop: &CancellationToken) -> Box<dyn Read + Send> {
    let files = store.list(path, None).await.unwrap();
    match store.open(&files[0], stop).await.unwrap() {
        Input::Ranged(file) => file.stream(),
        _ => panic!("not in parts"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_rests_is_not_run_over() {
    let bucket = bucket();
    bucket.put("large.csv", &vec![b'x'; 40 << 20]);
    let proxy = Proxy::before(bucket.endpoint(), 1);
    let mut reader =
        stream(&store(&bucket, &proxy.endpoint()), &format!("s3://{}/large.csv", bucket.name()), &CancellationToken::new()).await;
    let first = tokio::task::spawn_blocking(move || reader.read(&mut [0; 16]).map(|length| (length, reader))).await.unwrap();
    let gets = || proxy.count(|seen| seen.method == "GET");
    let mut before = 0;
    while gets() > before {
        before = gets();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert!((1..=5).contains(&before), "{before} parts were asked for");
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_stops_when_it_is_told_to() {
    let bucket = bucket();
    bucket.put("large.csv", &vec![b'x'; 1 << 20]);
    let proxy = Proxy::before(bucket.endpoint(), 1);
    let stop = CancellationToken::new();
    let path = format!("s3://{}/large.csv", bucket.name());
    let mut reader = stream(&store(&bucket, &proxy.endpoint()), &path, &stop).await;
    let hour = std::time::Duration::from_secs(3600);
    proxy.set_faults([Rule::new(Fault::Delay(hour, hour))]);
    let reading = tokio::task::spawn_blocking(move || {
        let mut all = vec![];
        reader.read_to_end(&mut all).map_err(|e| e.downcast::<lake::Error>().unwrap().kind())
    });
    stop.cancel();
    assert_eq!(reading.await.unwrap(), Err(ErrorKind::Cancelled));
}

#[tokio::test]
async fn only_what_a_pattern_can_match_is_listed() {
    let bucket = bucket();
    for month in 1..=12 {
        for day in 1..=20 {
            bucket.put(&format!("feeds/2025-{month:02}-{day:02}.csv"), b"x");
        }
    }
    bucket.put("feeds/2026-01-01.csv", b"x");
    bucket.put("other/2026-01-01.csv", b"x");
    let proxy = Proxy::before(bucket.endpoint(), 1);
    let found =
        store(&bucket, &proxy.endpoint()).list(&format!("s3://{}/feeds/2025-12-0*.csv", bucket.name()), None).await.unwrap();
    assert_eq!(found.len(), 9);
    let seen = proxy.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].target.contains("prefix=feeds%2F") && seen[0].target.contains("start-after=feeds%2F2025-12-"), "{seen:?}");
}
