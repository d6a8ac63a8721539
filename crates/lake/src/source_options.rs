//! Settings for reaching sources, kept apart from those of the lake's own store.

use std::collections::HashMap;
use std::fmt;

/// Values by the names of their variables, such as `SOURCE_AWS_ACCESS_KEY_ID`. They hold secrets, so they are never shown.
#[derive(Clone, Default)]
pub(crate) struct SourceOptions(HashMap<String, String>);

impl SourceOptions {
    pub(crate) fn set(&mut self, name: String, value: String) {
        self.0.insert(name, value);
    }

    pub(crate) fn values(&self) -> &HashMap<String, String> {
        &self.0
    }
}

impl fmt::Debug for SourceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceOptions({} settings)", self.0.len())
    }
}
