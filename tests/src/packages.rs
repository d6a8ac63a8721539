//! The package index of the operating system: real texts and relations, and batches of changes to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

/// A package of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Unique.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Such as `games`.
    pub section: String,
    /// Name and address.
    pub maintainer: String,
    /// One line.
    pub description: String,
    /// Bytes.
    pub size: i64,
    /// Names of packages, which need not be in the index.
    pub needs: BTreeSet<String>,
}

/// The nodes and edges of a workspace: what a graph made of the packages must be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Label and id to the properties.
    pub nodes: BTreeMap<(String, String), String>,
    /// Type, and the ids of the start and the end.
    pub edges: BTreeSet<(String, String, String)>,
}

/// The first `limit` packages of the index, by name. It is fetched when this machine has none.
///
/// # Panics
/// When it cannot be had, with a hint.
pub fn index(limit: usize) -> BTreeMap<String, Package> {
    let mut text = dump();
    if text.len() < 1 << 20 {
        let done = Command::new("apt-get").arg("update").output();
        assert!(done.is_ok_and(|d| d.status.success()), "the package index cannot be had: does `apt-get update` work here?");
        text = dump();
    }
    let packages: BTreeMap<String, Package> = text.split("\n\n").filter_map(package).map(|p| (p.name.clone(), p)).collect();
    assert!(packages.len() > 30_000, "the package index has {} packages only", packages.len());
    packages.into_iter().take(limit).collect()
}

fn dump() -> String {
    let done = Command::new("apt-cache").arg("dumpavail").output().expect("`apt-cache` runs: is this a Debian?");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn package(stanza: &str) -> Option<Package> {
    let field = |name: &str| {
        let mut lines = stanza.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
    };
    let needs = field("Depends").unwrap_or_default();
    let needs = needs.split([',', '|']).filter_map(|need| need.split_whitespace().next()?.split(':').next());
    Some(Package {
        name: field("Package")?,
        version: field("Version")?,
        section: field("Section").unwrap_or_default(),
        maintainer: field("Maintainer")?,
        description: field("Description")?,
        size: field("Size")?.parse().ok()?,
        needs: needs.map(str::to_owned).collect(),
    })
}

/// The workspace that a package is of: half of them each.
pub fn workspace_of(name: &str) -> &'static str {
    if name.bytes().map(u32::from).sum::<u32>().is_multiple_of(2) { "even" } else { "odd" }
}

/// Writes a file of a feed: packages as they are now (`U`) and names of those that are gone (`D`).
///
/// # Panics
/// When it cannot be written.
pub fn feed(file: &Path, seq: i64, now: &[&Package], gone: &[String]) {
    let mut text = String::new();
    for p in now {
        let row = json!({
            "workspace_id": workspace_of(&p.name), "op": "U", "seq": seq, "package": p.name, "version": p.version,
            "section": p.section, "maintainer": p.maintainer, "description": p.description, "size": p.size, "depends": p.needs,
        });
        let _ = writeln!(text, "{row}");
    }
    for name in gone {
        let row = json!({ "workspace_id": workspace_of(name), "op": "D", "seq": seq, "package": name });
        let _ = writeln!(text, "{row}");
    }
    // A file that is half written is not to be read.
    let whole = file.with_extension("part");
    std::fs::write(&whole, text).expect("a file of the feed");
    std::fs::rename(whole, file).expect("a file of the feed");
}

/// Whether a package has a vector.
pub fn has_vector(p: &Package) -> bool {
    p.section != "debug" && !p.description.trim().is_empty()
}

/// The graph of a workspace's packages.
pub fn expected(packages: &BTreeMap<String, Package>, workspace: &str) -> Expected {
    let mut expected = Expected::default();
    for p in packages.values().filter(|p| workspace_of(&p.name) == workspace) {
        let properties = json!({ "section": p.section, "size": p.size, "version": p.version });
        expected.nodes.insert(("Package".into(), p.name.clone()), properties.to_string());
        expected.nodes.insert(("Person".into(), p.maintainer.clone()), "{}".into());
        expected.edges.insert(("MAINTAINS".into(), p.maintainer.clone(), p.name.clone()));
        for need in p.needs.iter().filter(|n| **n != p.name) {
            expected.nodes.entry(("Package".into(), need.clone())).or_insert_with(|| "{}".into());
            expected.edges.insert(("NEEDS".into(), p.name.clone(), need.clone()));
        }
    }
    expected
}

impl Expected {
    /// How many nodes and edges are to be sent, and how many to be taken away, to make this of `before`.
    pub fn steps_from(&self, before: &Expected) -> (usize, usize) {
        let changed = self.nodes.iter().filter(|(key, value)| before.nodes.get(*key) != Some(*value)).count();
        let gone = before.nodes.keys().filter(|key| !self.nodes.contains_key(*key)).count();
        let (came, went) = (self.edges.difference(&before.edges).count(), before.edges.difference(&self.edges).count());
        (changed + came, gone + went)
    }
}
