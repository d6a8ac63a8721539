//! The checked name of a workspace.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// The partition column of every table.
pub const WORKSPACE_COLUMN: &str = "workspace_id";

/// The partition of rows that named no workspace, or one that is refused. No [`WorkspaceId`] can have this name, so
/// no workspace can read it.
pub const UNASSIGNED: &str = "__unassigned__";

/// The longest accepted name, in characters of its percent-encoded form.
pub const MAX_WORKSPACE_CHARS: usize = 200;

/// A workspace's name: 1 to 200 characters (percent-encoded), no control characters, no white space at either end, not `.` or `..`, and
/// not starting with two underscores (kept for the platform). Anything else is stored percent-encoded and is safe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspaceId(Arc<str>);

impl WorkspaceId {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], saying which rule the name breaks.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        match Self::refusal(name) {
            None => Ok(Self(name.into())),
            Some(why) => Err(Error::new(ErrorKind::Config, format!("workspace name {why}"))
                .with_hint("use 1 to 200 characters without control characters, such as `acme`")),
        }
    }

    /// Why `name` is not a workspace's name, or `None` when it is one.
    pub fn refusal(name: &str) -> Option<&'static str> {
        if name.is_empty() {
            Some("is empty")
        } else if encoded_length(name) > MAX_WORKSPACE_CHARS {
            Some(
                "is longer than 200 characters, where one that is not a plain letter, digit, `-`, `_`, `.` or `~` counts as three a byte",
            )
        } else if name.chars().any(char::is_control) {
            Some("has a control character")
        } else if name.trim() != name {
            Some("starts or ends with white space")
        } else if name == "." || name == ".." {
            Some("is a relative path")
        } else if name.starts_with("__") {
            Some("starts with `__`, which is kept for the platform")
        } else {
            None
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The length of the folder's name, in which every other byte is percent-encoded; file systems take 255.
fn encoded_length(name: &str) -> usize {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    name.bytes().map(|b| if plain(b) { 1 } else { 3 }).sum()
}

impl fmt::Display for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for WorkspaceId {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Self::new(s)
    }
}
