//! What the names in a query stand for.

use std::collections::BTreeMap;

/// The variables so far.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// By name, whether it is an edge.
    variables: BTreeMap<String, bool>,
}

impl Scope {
    /// Takes note of a node, which may be known already.
    pub(super) fn node(&mut self, name: &str) -> Result<(), String> {
        match self.variables.insert(name.to_owned(), false) {
            Some(true) => Err(format!("`{name}` is an edge already")),
            _ => Ok(()),
        }
    }

    /// Takes note of an edge, which must be new.
    pub(super) fn edge(&mut self, name: &str) -> Result<(), String> {
        match self.variables.insert(name.to_owned(), true) {
            Some(_) => Err(format!("`{name}` is something else already")),
            None => Ok(()),
        }
    }

    pub(super) fn is_edge(&self, name: &str) -> Result<bool, String> {
        self.variables.get(name).copied().ok_or_else(|| format!("`{name}` is not in any `MATCH` before"))
    }

    /// Two variables that can be compared.
    pub(super) fn alike(&self, a: &str, b: &str) -> Result<(), String> {
        if self.is_edge(a)? == self.is_edge(b)? { Ok(()) } else { Err("a node is never an edge".to_owned()) }
    }
}
