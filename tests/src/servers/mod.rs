//! Real servers for tests. Each is installed at first use, pinned, into the tests' cache; listens on a free port of the loopback; and ends
//! with the process that started it, however that ends, taking its data along.

mod install;
mod minio;
mod process;
mod redis;
mod server;
mod tls;
mod versitygw;

pub use minio::{Minio, MinioOptions, minio};
pub use redis::Redis;
pub use server::Server;
pub use tls::Certificates;
pub use versitygw::VersityGw;
