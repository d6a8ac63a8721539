//! The servers and proxies that other tests stand on do what they are for.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use hyper::Method;
use lake_tests::proxy::{Fault, Lie, Proxy, Rule};
use lake_tests::s3::Bucket;
use lake_tests::servers::{Certificates, Minio, MinioOptions, Redis, VersityGw, minio};

const WRITERS: usize = 6;
const ROUNDS: usize = 15;

/// How many of some writers that start together are told that they made the object, for each of some objects.
fn winners(bucket: &Bucket) -> Vec<usize> {
    let race = |key: &str| {
        let start = Barrier::new(WRITERS);
        std::thread::scope(|scope| {
            let write = |writer: usize| {
                start.wait();
                let answer = bucket.put_if_absent(key, format!("writer {writer}").as_bytes()).unwrap();
                // 409 is S3's word for a race that it could not decide.
                assert!(matches!(answer.status, 200 | 409 | 412), "{answer:?}");
                usize::from(answer.status == 200)
            };
            let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).sum()
        })
    };
    (0..ROUNDS).map(|round| race(&format!("races/{round}"))).collect()
}

/// A bucket of the shared server, and a proxy before it.
fn proxied(name: &str) -> (Bucket, Proxy) {
    let endpoint = minio().endpoint();
    (endpoint.bucket(name), Proxy::before(&endpoint, 7))
}

#[test]
fn of_racing_conditional_writes_one_wins_on_every_server() {
    assert_eq!(winners(&minio().endpoint().bucket("races")), [1; ROUNDS]);
    assert_eq!(winners(&VersityGw::start().endpoint().bucket("races")), [1; ROUNDS]);
}

#[test]
fn any_key_is_written_listed_and_read_through_an_honest_proxy() {
    let (bucket, proxy) = proxied("keys");
    let through = bucket.through(proxy.address());
    let keys = ["a/b c", "a/50%=x+y", "a/Åse & <Söner>", "a/😀'\"", "b"];
    for key in keys {
        through.put(key, key.as_bytes());
        assert_eq!(through.get(key).unwrap(), key.as_bytes());
    }
    let large: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 251) as u8).collect();
    through.put("large", &large);
    assert_eq!(through.get("large").unwrap(), large);
    assert_eq!(through.put_if_absent("b", b"again").unwrap().status, 412);
    let mut expected: Vec<(String, u64)> = keys.iter().map(|key| (key.to_string(), key.len() as u64)).collect();
    expected.push(("large".into(), large.len() as u64));
    expected.sort();
    let mut listed = through.list("");
    listed.sort();
    assert_eq!(listed, expected);
    through.delete("b");
    assert_eq!(bucket.get("b"), None);
    assert_eq!(proxy.count(|seen| seen.status.is_none() || seen.fault.is_some() || seen.lied), 0);
}

#[test]
fn each_fault_does_to_a_write_what_its_name_says() {
    let (bucket, proxy) = proxied("faults");
    let through = bucket.through(proxy.address());
    let write = |key: &str, fault: Fault| {
        proxy.set_faults([Rule::new(fault)]);
        through.put_if_absent(key, b"content").ok().map(|answer| answer.status)
    };
    assert_eq!((write("cut-before", Fault::CutBefore), bucket.get("cut-before")), (None, None));
    assert_eq!((write("cut-after", Fault::CutAfter), bucket.get("cut-after")), (None, Some(b"content".to_vec())));
    for status in [429, 500, 503] {
        assert_eq!((write("refused", Fault::Refuse(status)), bucket.get("refused")), (Some(status), None));
    }
    // The client is told of the second time only.
    assert_eq!((write("twice", Fault::Duplicate), bucket.get("twice")), (Some(412), Some(b"content".to_vec())));
    let (least, most) = (Duration::from_millis(20), Duration::from_millis(40));
    assert_eq!(write("late", Fault::Delay(least, most)), Some(200));
    assert_eq!(proxy.count(|seen| seen.delay >= least && seen.delay <= most), 1);
    assert_eq!(proxy.count(|seen| seen.fault == Some(Fault::CutAfter) && seen.status.is_none()), 1);
}

#[test]
fn a_truncated_answer_is_no_answer() {
    let (bucket, proxy) = proxied("truncated");
    bucket.put("key", &[7; 100_000]);
    proxy.set_faults([Rule::new(Fault::Truncate).times(1)]);
    let through = bucket.through(proxy.address());
    assert_eq!(through.try_send("GET", "key", "", &[], b"").unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(through.get("key").unwrap().len(), 100_000);
}

#[test]
fn a_seed_decides_which_requests_are_hit_and_rules_say_which_can_be() {
    let (bucket, first) = proxied("seeds");
    let second = Proxy::before(bucket.endpoint(), 7);
    let statuses = |proxy: &Proxy| -> Vec<u16> {
        let rules = [
            Rule::new(Fault::Refuse(500)).chance(0.3).methods([Method::GET]),
            Rule::new(Fault::Refuse(503)).on("special").times(2),
        ];
        proxy.set_faults(rules);
        let through = bucket.through(proxy.address());
        let asked = (0..60).map(|i| ("GET", format!("{}{i}", if i % 9 == 0 { "special" } else { "usual" })));
        asked.map(|(method, key)| through.try_send(method, &key, "", &[], b"").unwrap().status).collect()
    };
    let found = statuses(&first);
    assert_eq!(found, statuses(&second));
    let count = |status: u16| found.iter().filter(|s| **s == status).count();
    assert!((5..35).contains(&count(500)) && count(503) == 2, "{found:?}");
    assert_eq!(first.count(|seen| seen.fault == Some(Fault::Refuse(500))), count(500));
}

#[test]
fn a_store_that_ignores_conditions_tells_every_writer_that_it_was_first() {
    let (bucket, proxy) = proxied("ignores");
    proxy.set_lie(Some(Lie::IgnoresConditions));
    let through = bucket.through(proxy.address());
    assert_eq!(winners(&through), [WRITERS; ROUNDS]);
    assert_eq!(through.put_if_absent("races/0", b"later").unwrap().status, 200);
}

#[test]
fn a_store_that_looks_before_it_writes_lies_to_racing_writers_only() {
    let (bucket, proxy) = proxied("looks");
    proxy.set_lie(Some(Lie::LooksThenWrites(Duration::from_millis(20), Duration::from_millis(50))));
    let through = bucket.through(proxy.address());
    let one_by_one = [200, 412, 412].map(|_| through.put_if_absent("alone", b"x").unwrap().status);
    assert_eq!(one_by_one, [200, 412, 412]);
    let found = winners(&through);
    assert!(found.iter().all(|winners| *winners > 0) && found.iter().any(|winners| *winners > 1), "{found:?}");
}

#[test]
fn a_stale_listing_lacks_what_was_just_written_and_has_it_later() {
    let (bucket, proxy) = proxied("stale");
    let through = bucket.through(proxy.address());
    bucket.put("old & known", b"1");
    proxy.set_lie(Some(Lie::StaleListings(Duration::from_secs(3_600))));
    through.put("new", b"1");
    assert_eq!(through.list(""), [("old & known".to_string(), 1)]);
    assert_eq!(through.get("new").unwrap(), b"1");
    proxy.set_lie(Some(Lie::StaleListings(Duration::from_millis(1))));
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(through.list("").len(), 2);
}

#[test]
fn a_clock_an_hour_off_refuses_what_is_signed_by_the_right_one() {
    let (bucket, proxy) = proxied("clock");
    let through = bucket.through(proxy.address());
    for hours in [-1, 1] {
        proxy.set_lie(Some(Lie::ClockOff(hours * 3_600)));
        let answer = through.try_send("GET", "key", "", &[], b"").unwrap();
        assert_eq!(answer.status, 403);
        assert!(String::from_utf8_lossy(&answer.body).contains("<Code>RequestTimeTooSkewed</Code>"), "{answer:?}");
        let date = chrono::DateTime::parse_from_rfc2822(answer.header("date").unwrap()).unwrap();
        let off = date.signed_duration_since(chrono::Utc::now()).num_seconds() - hours * 3_600;
        assert!(off.abs() < 600, "{off} s");
    }
    proxy.set_lie(Some(Lie::ClockOff(300)));
    assert_eq!(through.get("key"), None);
}

#[test]
fn a_killed_server_comes_back_at_its_address_with_its_data() {
    let minio = Minio::start();
    let bucket = minio.endpoint().bucket("kept");
    bucket.put("key", b"kept");
    minio.kill();
    assert!(bucket.put_if_absent("other", b"x").is_err());
    minio.restart();
    assert_eq!(bucket.get("key").unwrap(), b"kept");
    minio.pause();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| bucket.get("key"));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!asked.is_finished(), "a server that is stopped answered");
        minio.resume();
        assert_eq!(asked.join().unwrap().unwrap(), b"kept");
    });
}

#[test]
fn keys_that_were_revoked_are_refused() {
    let minio = Minio::start();
    let bucket = minio.endpoint().bucket("keys");
    bucket.put("key", b"1");
    minio.restart_with_secret_key("another-secret");
    assert_eq!(bucket.try_send("GET", "key", "", &[], b"").unwrap().status, 403);
    assert_eq!(minio.endpoint().bucket("keys").get("key").unwrap(), b"1");
}

#[test]
fn a_server_with_an_authority_of_its_own_speaks_tls_only() {
    let certificates = Certificates::new();
    assert!(certificates.authority().is_file());
    // That it is ready is asked over TLS, with the authority checked.
    let minio = Minio::start_with(MinioOptions { certificates: Some(certificates), ..MinioOptions::default() });
    assert!(minio.endpoint().url().starts_with("https://"));
    let plain = lake_tests::s3::Endpoint { tls: false, ..minio.endpoint() };
    assert!(std::panic::catch_unwind(|| plain.bucket("plain")).is_err());
}

#[test]
fn a_redis_keeps_values_until_it_is_killed() {
    let redis = Redis::start();
    assert_eq!(redis.answer_to("SET key value NX"), "+OK\r\n");
    assert_eq!(redis.answer_to("SET key other NX"), "$-1\r\n");
    redis.restart();
    assert_eq!(redis.answer_to("GET key"), "$-1\r\n");
}

/// Names the role in which the next test starts this program again.
const ROLE: &str = "LAKE_TEST_SERVER_OWNER";

#[test]
fn a_server_ends_with_the_process_that_started_it() {
    if std::env::var_os(ROLE).is_some() {
        let redis = Redis::start();
        println!("\n{ROLE} {} {}", redis.address(), redis.folder().display());
        std::thread::sleep(Duration::from_secs(600));
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers::a_server_ends_with_the_process_that_started_it", "--nocapture"])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.find(|line| line.starts_with(ROLE)).unwrap();
    let words: Vec<&str> = said.split(' ').collect();
    let (address, folder) = (words[1], std::path::Path::new(words[2]));
    assert!(TcpStream::connect(address).is_ok() && folder.is_dir());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let killed = Instant::now();
    while TcpStream::connect(address).is_ok() || folder.exists() {
        assert!(killed.elapsed() < Duration::from_secs(60), "the server is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}
