//! A certificate authority of the tests' own, and the certificate of a server on the loopback.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::cache::said;

/// For how many days the certificates hold.
const DAYS: &str = "3";

/// An authority that nobody knows, and a certificate by it for `127.0.0.1` and `localhost`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificates {
    folder: Arc<tempfile::TempDir>,
}

impl Certificates {
    /// New ones.
    ///
    /// # Panics
    /// When `openssl` is not installed.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("lake-tls-").tempdir().expect("a temporary folder");
        let authority = folder.path().join("authority");
        std::fs::create_dir(&authority).expect("a folder of the authority");
        let made = Self { folder: Arc::new(folder) };
        made.make();
        made
    }

    /// Where `public.crt` and `private.key` of the server are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate of the authority, in PEM.
    pub fn authority(&self) -> PathBuf {
        self.folder().join("authority/ca.crt")
    }

    fn make(&self) {
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let authority = ["req", "-x509", "-days", DAYS, "-subj", "/CN=authority of the tests", "-keyout", "authority/ca.key"];
        let is_authority = ["-addext", "keyUsage=critical,keyCertSign", "-out", "authority/ca.crt"];
        self.openssl(authority.iter().chain(&new_key).chain(&is_authority));
        let request = ["req", "-subj", "/CN=localhost", "-keyout", "private.key", "-out", "authority/server.csr"];
        self.openssl(request.iter().chain(&new_key));
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n";
        std::fs::write(self.folder().join("authority/names"), names).expect("the names of the server are written");
        let signing = ["x509", "-req", "-days", DAYS, "-in", "authority/server.csr", "-extfile", "authority/names"];
        let by = ["-CA", "authority/ca.crt", "-CAkey", "authority/ca.key", "-set_serial", "2", "-out", "public.crt"];
        self.openssl(signing.iter().chain(&by));
    }

    fn openssl<'a>(&self, arguments: impl Iterator<Item = &'a &'a str>) {
        let output = Command::new("openssl").args(arguments).current_dir(self.folder()).output();
        said("openssl", output, Some("install OpenSSL's command (Debian: `apt-get install openssl`)"))
            .unwrap_or_else(|error| panic!("certificates cannot be made: {error}"));
    }

    /// What a server with these certificates answers to `request`.
    pub(super) fn answer_to(&self, address: SocketAddr, request: &str) -> String {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", "-verify_return_error", "-connect", &address.to_string(), "-CAfile"]);
        let client = client.arg(self.authority()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut client) = client else { return String::new() };
        if let Some(stdin) = &mut client.stdin {
            drop(stdin.write_all(request.as_bytes()));
        }
        client.wait_with_output().map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
