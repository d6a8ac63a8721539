//! End-to-end tests: the real binary, real readers, real kills.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not in test functions, for which `clippy.toml` allows it")]

/// Makes two tests of each function that takes a place: `name::on_disk` and `name::on_s3`. Functions that are `async` come after that word.
macro_rules! everywhere {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn on_disk() {
                super::$name(lake_tests::bench::Place::Disk);
            }

            #[test]
            fn on_s3() {
                super::$name(lake_tests::bench::Place::S3);
            }
        }
    )+};
    (async $($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn on_disk() {
                super::$name(lake_tests::bench::Place::Disk).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_s3() {
                super::$name(lake_tests::bench::Place::S3).await;
            }
        }
    )+};
}

#[macro_use]
mod contract;

mod change;
mod faults;
mod isolation;
mod kill;
mod library;
mod lifecycle;
mod marks;
mod memory;
mod neo4j;
mod plan;
mod public_data;
mod qdrant;
mod quickstart;
mod refresh;
mod servers;
mod settled;
mod sinks;
mod sources;
mod storm;
mod structure;
mod workspace_names;
mod writers;
mod wrong;

/// The lake of a bench, as a service opens it.
fn opened(bench: &lake_tests::bench::Bench) -> lake::Lake {
    let location = bench.location();
    let builder = lake::Lake::builder().uri(location.uri).threads(2);
    location.options.into_iter().fold(builder, |builder, (name, value)| builder.storage_option(name, value)).build().unwrap()
}
