//! Which tables of a pipeline a command is about, in dbt's notation.

use std::collections::BTreeSet;

use super::graph::TableGraph;
use super::model::{Layer, TableName};
use super::name::one_of;
use crate::diagnostic::nearest;
use crate::{Error, ErrorKind, Result};

impl TableGraph {
    /// The tables that any of `patterns` names, in the order of work; all of them when there is no pattern. A pattern is
    /// `layer.name`, with `*` for any text, or a layer; `+` before it adds all that it reads, `+` after it all that reads it,
    /// directly or not. Patterns may also be joined by blanks.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a pattern names no table, with the nearest names as the hint.
    pub fn select(&self, patterns: &[String]) -> Result<Vec<TableName>> {
        let words: Vec<&str> = patterns.iter().flat_map(|p| p.split_whitespace()).collect();
        if words.is_empty() {
            return Ok(self.order().to_vec());
        }
        let mut selected = BTreeSet::new();
        let mut unknown = Vec::new();
        for word in words {
            let (before, rest) = word.strip_prefix('+').map_or((false, word), |rest| (true, rest));
            let (after, core) = rest.strip_suffix('+').map_or((false, rest), |core| (true, core));
            let named: Vec<&TableName> = self.order().iter().filter(|t| matches(core, t)).collect();
            if named.is_empty() {
                unknown.push((word, core));
            }
            for table in named {
                selected.insert(table.clone());
                if before {
                    self.add_inputs(table, &mut selected);
                }
                if after {
                    self.add_readers(table, &mut selected);
                }
            }
        }
        if unknown.is_empty() {
            Ok(self.order().iter().filter(|t| selected.contains(*t)).cloned().collect())
        } else {
            Err(self.unknown_patterns(&unknown))
        }
    }

    fn add_inputs(&self, table: &TableName, selected: &mut BTreeSet<TableName>) {
        let mut waiting = vec![table];
        let mut seen = BTreeSet::new();
        while let Some(table) = waiting.pop() {
            if seen.insert(table) {
                selected.insert(table.clone());
                waiting.extend(self.inputs(table));
            }
        }
    }

    fn add_readers(&self, table: &TableName, selected: &mut BTreeSet<TableName>) {
        let mut waiting = vec![table];
        let mut seen = BTreeSet::new();
        while let Some(table) = waiting.pop() {
            if seen.insert(table) {
                selected.insert(table.clone());
                waiting.extend(self.order().iter().filter(|t| self.inputs(t).contains(table)));
            }
        }
    }

    fn unknown_patterns(&self, unknown: &[(&str, &str)]) -> Error {
        let words: Vec<&str> = unknown.iter().map(|(word, _)| *word).collect();
        let names: Vec<String> = self.order().iter().map(TableName::to_string).collect();
        let mut near: Vec<&str> = Vec::new();
        for (_, core) in unknown {
            let namesakes = self.order().iter().zip(&names).filter(|(t, _)| t.name == *core).map(|(_, name)| name.as_str());
            near.extend(namesakes);
            let layers = Layer::ALL.map(Layer::as_str);
            near.extend(nearest(core, names.iter().map(String::as_str).chain(layers)));
        }
        near.sort_unstable();
        near.dedup();
        let error = Error::new(ErrorKind::Config, format!("no table of the pipeline is selected by {}", one_of(&words)));
        match near.as_slice() {
            [] => error.with_hint("select with `silver.posts`, `+silver.posts`, `silver.posts+`, `silver.*` or `gold`"),
            near => error.with_hint(format!("did you mean {}?", one_of(near))),
        }
    }
}

fn matches(pattern: &str, table: &TableName) -> bool {
    pattern == table.layer.as_str() || glob(pattern, &table.to_string())
}

/// Whether `text` is `pattern`, in which `*` is any text.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = tail.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Pipeline;

    fn graph() -> TableGraph {
        let text = "name: p
bronze:
  posts: { method: m }
  users: { method: m }
silver:
  posts: { from: bronze.posts }
  users: { from: bronze.users }
gold:
  daily: { sql: SELECT * FROM silver.posts }
  top: { sql: 'SELECT * FROM gold.daily, silver.users' }
";
        TableGraph::new(&Pipeline::parse("p.yaml", text, &|_| None).unwrap(), &BTreeSet::new()).unwrap()
    }

    fn select(patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        graph().select(&patterns).unwrap().iter().map(TableName::to_string).collect()
    }

    #[test]
    fn a_name_selects_one_table_and_nothing_selects_all() {
        assert_eq!(select(&["silver.posts"]), ["silver.posts"]);
        assert_eq!(select(&[]).len(), 6);
        assert_eq!(select(&["*"]).len(), 6);
    }

    #[test]
    fn plus_signs_add_what_is_read_and_what_reads() {
        assert_eq!(select(&["+silver.posts"]), ["bronze.posts", "silver.posts"]);
        assert_eq!(select(&["silver.posts+"]), ["silver.posts", "gold.daily", "gold.top"]);
        assert_eq!(select(&["+silver.posts+"]), ["bronze.posts", "silver.posts", "gold.daily", "gold.top"]);
        assert_eq!(select(&["+gold.top"]).len(), 6);
    }

    #[test]
    fn a_layer_and_a_star_select_several() {
        assert_eq!(select(&["gold"]), ["gold.daily", "gold.top"]);
        assert_eq!(select(&["silver.*"]), ["silver.posts", "silver.users"]);
        assert_eq!(select(&["*.posts"]), ["bronze.posts", "silver.posts"]);
        assert_eq!(select(&["*.po*s"]), ["bronze.posts", "silver.posts"]);
    }

    #[test]
    fn several_patterns_are_joined_in_the_order_of_work() {
        assert_eq!(select(&["gold.daily", "bronze.posts"]), ["bronze.posts", "gold.daily"]);
        assert_eq!(select(&["gold.daily bronze.posts"]), ["bronze.posts", "gold.daily"]);
    }

    #[test]
    fn an_unknown_pattern_comes_with_the_nearest_names() {
        let error = graph().select(&["silver.psots".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "no table of the pipeline is selected by `silver.psots`");
        assert_eq!(error.hint(), Some("did you mean `silver.posts`?"));
        let error = graph().select(&["posts+".to_owned()]).unwrap_err();
        assert_eq!(error.hint(), Some("did you mean `bronze.posts` or `silver.posts`?"));
        assert!(graph().select(&["silver.none*".to_owned(), "gold".to_owned()]).is_err());
    }
}
