//! MinIO, an S3 server that keeps the promise of conditional writes.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::install::go_program;
use super::server::{Recipe, Server, answer_to};
use super::tls::Certificates;
use crate::s3::Endpoint;

const ACCESS_KEY: &str = "lake";
const VERSION: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";

/// The MinIO that the tests of one process share; each takes buckets of its own.
///
/// # Panics
/// When it cannot be had, with a hint.
pub fn minio() -> &'static Minio {
    static SHARED: LazyLock<Minio> = LazyLock::new(Minio::start);
    &SHARED
}

/// What is special about a MinIO.
#[derive(Debug, Clone, Default)]
pub struct MinioOptions {
    /// Where it keeps its objects, instead of a folder that vanishes with it.
    pub data: Option<PathBuf>,
    /// With TLS, and these certificates.
    pub certificates: Option<Certificates>,
}

/// A MinIO.
#[derive(Debug)]
pub struct Minio {
    server: Server,
    recipe: Mutex<MinioRecipe>,
}

#[derive(Debug, Clone)]
struct MinioRecipe {
    program: PathBuf,
    options: MinioOptions,
    secret_key: String,
}

impl Deref for Minio {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Minio {
    /// One of its own for a test that harms it.
    ///
    /// # Panics
    /// When it cannot be had, with a hint.
    pub fn start() -> Self {
        Self::start_with(MinioOptions::default())
    }

    /// As [`Minio::start`], with options.
    ///
    /// # Panics
    /// As [`Minio::start`].
    pub fn start_with(options: MinioOptions) -> Self {
        let program =
            go_program("minio", "github.com/minio/minio", VERSION).unwrap_or_else(|error| panic!("MinIO cannot be had: {error}"));
        let recipe = MinioRecipe { program, options, secret_key: "lake-secret".into() };
        let folder = tempfile::Builder::new().prefix("lake-minio-").tempdir().expect("a temporary folder");
        Self { server: Server::start(&recipe, folder), recipe: Mutex::new(recipe) }
    }

    /// Where it listens, and how to sign in.
    pub fn endpoint(&self) -> Endpoint {
        self.recipe().endpoint(self.server.address())
    }

    /// Kills it if it runs and starts it again, at the same address with the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        self.server.run_again(&self.recipe());
    }

    /// As [`Minio::restart`], with another secret key: who knows the old one only is refused from then on.
    ///
    /// # Panics
    /// As [`Minio::restart`].
    pub fn restart_with_secret_key(&self, secret_key: &str) {
        self.recipe.lock().unwrap_or_else(PoisonError::into_inner).secret_key = secret_key.into();
        self.restart();
    }

    fn recipe(&self) -> MinioRecipe {
        self.recipe.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl MinioRecipe {
    fn endpoint(&self, address: SocketAddr) -> Endpoint {
        let (tls, secret_key) = (self.options.certificates.is_some(), self.secret_key.clone());
        Endpoint { address, tls, access_key: ACCESS_KEY.into(), secret_key }
    }
}

impl Recipe for MinioRecipe {
    fn command(&self, address: SocketAddr, folder: &Path) -> Command {
        let own = folder.join("data");
        let certificates = self.options.certificates.as_ref().map(|c| c.folder().to_path_buf());
        let mut command = Command::new(&self.program);
        command.arg("server").arg(self.options.data.as_ref().unwrap_or(&own)).args([
            "--quiet",
            "--address",
            &address.to_string(),
        ]);
        command.arg("--certs-dir").arg(certificates.unwrap_or_else(|| folder.join("no-certificates")));
        command.env("MINIO_ROOT_USER", ACCESS_KEY).env("MINIO_ROOT_PASSWORD", &self.secret_key);
        command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off");
        command
    }

    fn is_ready(&self, address: SocketAddr) -> bool {
        // Its health check says yes before accounts are known.
        let request = self.endpoint(address).first_request();
        let answer = match &self.options.certificates {
            Some(certificates) => certificates.answer_to(address, &request),
            None => answer_to(address, &request),
        };
        answer.starts_with("HTTP/1.0 200")
    }
}
