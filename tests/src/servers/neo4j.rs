//! Neo4j Community, from Maven.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::install::maven_jars;
use super::server::{Recipe, Server};
use crate::bolt;
use crate::cache::{self, Result, SetupError, said};

const VERSION: &str = "2026.08.1";
const USER: &str = "neo4j";
const PASSWORD: &str = "lake-secret";
/// The oldest Java that runs it.
const JAVA: u32 = 21;

/// Where a Neo4j is, and how to sign in.
#[derive(Debug, Clone)]
pub struct Neo4jAddress {
    /// Such as `bolt://127.0.0.1:7687`.
    pub uri: String,
    /// Its user.
    pub user: String,
    /// The user's password.
    pub password: String,
}

/// The Neo4j that the tests of one process share, each with graphs of its own: `NEO4J_TEST_URI` (with `NEO4J_TEST_USER` and
/// `NEO4J_TEST_PASSWORD`), or one that is started now.
///
/// # Panics
/// When it cannot be had, with a hint.
pub fn neo4j() -> Neo4jAddress {
    static SHARED: LazyLock<Neo4j> = LazyLock::new(Neo4j::start);
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match variable("NEO4J_TEST_URI") {
        Some(uri) => {
            let user = variable("NEO4J_TEST_USER").unwrap_or_else(|| USER.into());
            Neo4jAddress { uri, user, password: variable("NEO4J_TEST_PASSWORD").unwrap_or_default() }
        }
        None => SHARED.signing_in(),
    }
}

/// A Neo4j.
#[derive(Debug)]
pub struct Neo4j {
    server: Server,
    recipe: Neo4jRecipe,
}

#[derive(Debug)]
struct Neo4jRecipe {
    java: PathBuf,
    jars: PathBuf,
}

impl Deref for Neo4j {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Neo4j {
    /// A fresh one, for a test that harms it. It takes about 10 s and 500 MB.
    ///
    /// # Panics
    /// When it cannot be had, with a hint.
    pub fn start() -> Self {
        let recipe = Neo4jRecipe::installed().unwrap_or_else(|error| panic!("Neo4j cannot be had: {error}"));
        let folder = tempfile::Builder::new().prefix("lake-neo4j-").tempdir().expect("a temporary folder");
        Self { server: Server::start(&recipe, folder), recipe }
    }

    /// Where it listens, and how to sign in.
    pub fn signing_in(&self) -> Neo4jAddress {
        Neo4jAddress { uri: format!("bolt://{}", self.server.address()), user: USER.into(), password: PASSWORD.into() }
    }

    /// Kills it if it runs and starts it again, at the same address with the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        self.server.run_again(&self.recipe);
    }
}

impl Neo4jRecipe {
    fn installed() -> Result<Self> {
        let java = java()?;
        let jars = maven_jars("neo4j", "org.neo4j", "neo4j", VERSION)?;
        Ok(Self { java, jars })
    }

    fn java(&self, folder: &Path) -> Command {
        let mut java = Command::new(&self.java);
        java.env("NEO4J_HOME", folder).env("NEO4J_CONF", folder.join("conf"));
        java.args(["-Xms256m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        for package in ["java.nio", "java.io", "sun.nio.ch"] {
            java.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
        }
        java.arg("--enable-native-access=ALL-UNNAMED");
        if version_of(&self.java).is_some_and(|version| version >= 23) {
            java.arg("--sun-misc-unsafe-memory-access=allow");
        }
        java.arg("-cp").arg(self.jars.join("*"));
        java
    }
}

impl Recipe for Neo4jRecipe {
    fn command(&self, address: SocketAddr, folder: &Path) -> Command {
        let conf = folder.join("conf");
        let is_new = !conf.exists();
        std::fs::create_dir_all(&conf).expect("a folder of the server");
        let settings = format!(
            "server.default_listen_address={}\nserver.bolt.listen_address=:{port}\nserver.bolt.advertised_address=:{port}\n\
             server.http.enabled=false\nserver.https.enabled=false\ndbms.usage_report.enabled=false\n\
             server.memory.pagecache.size=128m\n",
            address.ip(),
            port = address.port()
        );
        std::fs::write(conf.join("neo4j.conf"), settings).expect("the settings of the server");
        if is_new {
            let mut admin = self.java(folder);
            admin.args(["org.neo4j.cli.AdminTool", "dbms", "set-initial-password", PASSWORD]).stdin(Stdio::null());
            said("neo4j-admin", admin.output(), None).unwrap_or_else(|error| panic!("Neo4j cannot be set up: {error}"));
        }
        let mut command = self.java(folder);
        command.arg("org.neo4j.server.Neo4jCommunity");
        command.arg(format!("--home-dir={}", folder.display())).arg(format!("--config-dir={}", conf.display()));
        command
    }

    fn is_ready(&self, address: SocketAddr) -> bool {
        bolt::answers(address, USER, PASSWORD)
    }
}

/// A Java that is new enough: of `JAVA_HOME`, of the path, or of where systems keep them.
fn java() -> Result<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").map(PathBuf::from);
    let on_path = cache::on_path("java").and_then(|java| std::fs::canonicalize(java).ok());
    let beside = ["/usr/lib/jvm", "/opt", "/Library/Java/JavaVirtualMachines"]
        .into_iter()
        .filter_map(|place| std::fs::read_dir(place).ok());
    let beside = beside.flatten().flatten().flat_map(|found| [found.path(), found.path().join("Contents/Home")]);
    let homes = home.into_iter().chain(beside).map(|home| home.join("bin/java"));
    let found = on_path.into_iter().chain(homes).find(|java| version_of(java).is_some_and(|version| version >= JAVA));
    found.ok_or_else(|| SetupError {
        message: format!("there is no Java {JAVA} or newer"),
        hint: Some(
            "install one (Debian: `apt-get install openjdk-21-jre-headless`, or Temurin) or name its folder in `JAVA_HOME`",
        ),
    })
}

/// The version of a Java, such as 25.
fn version_of(java: &Path) -> Option<u32> {
    if !java.is_file() {
        return None;
    }
    let said = Command::new(java).arg("-version").output().ok()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let version = said.split('"').nth(1)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
