//! A table under `silver:`.

use super::Reader;
use crate::diagnostic::{Span, Spanned};
use crate::pipeline::key;
use crate::pipeline::model::{Expectation, Layer, Otherwise, SilverTable, TableName};
use crate::pipeline::name::{did_you_mean, label_refusal, one_of, parse_table};
use crate::pipeline::origin::as_written;
use crate::pipeline::yaml::{Kind, Mapping, Node};

impl Reader {
    pub(super) fn silver(&mut self, name: Spanned<TableName>, _node: &Node, keys: &Mapping) -> Option<SilverTable> {
        self.refuse_unknown_keys(keys, key::SILVER, "a silver table");
        let from = self.required_text(keys, "from", &name, "bronze.posts").and_then(|text| self.bronze_name(text));
        let entity = self.optional_text(keys, "entity");
        let select = keys.get("select").map(|e| self.select(&e.value)).unwrap_or_default();
        let filter = self.optional_text(keys, "where");
        let key = keys.get("key").map(|e| self.key_columns(&e.value, "key")).unwrap_or_default();
        let sequence_by = self.optional_text(keys, "sequence_by");
        let delete_when = self.optional_text(keys, "delete_when");
        let merge_on_read = self.optional_flag(keys, "merge_on_read");
        let expect = keys.get("expect").map(|e| self.expectations(&e.value)).unwrap_or_default();
        let description = self.description(keys);
        Some(SilverTable {
            name,
            from: from?,
            entity,
            select,
            filter,
            key,
            sequence_by,
            delete_when,
            merge_on_read,
            expect,
            description,
        })
    }

    fn bronze_name(&mut self, text: Spanned<String>) -> Option<Spanned<TableName>> {
        match parse_table(text.value.trim()) {
            Some(name) if name.layer == Layer::Bronze => Some(Spanned::new(name, text.span)),
            Some(name) => {
                let help = format!("name the bronze table that holds the rows, or make a gold table that reads `{name}`");
                self.report("wrong-type", text.span, format!("a silver table reads bronze, not {}", name.layer), Some(help));
                None
            }
            None => {
                let bare = text.value.trim().rsplit('.').next().unwrap_or_default();
                let help = match parse_table(&format!("bronze.{bare}")) {
                    // The text may come from a variable, which is not to be repeated.
                    Some(name) if as_written(&self.source, &text) == text.value => format!("did you mean `{name}`?"),
                    _ => "write it as `bronze.name`".to_owned(),
                };
                self.report("wrong-type", text.span, "`from` is not of the form `bronze.name`", Some(help));
                None
            }
        }
    }

    pub(super) fn select(&mut self, node: &Node) -> Vec<(Spanned<String>, Spanned<String>)> {
        let holds = "output columns and their SQL expressions, such as `author: user.name`";
        let Some(mapping) = self.mapping(node, "`select`", holds) else { return Vec::new() };
        if mapping.entries.is_empty() {
            let help = "list the columns, or leave `select` out to keep all of them".to_owned();
            self.report("missing-key", node.span, "`select` has no columns", Some(help));
        }
        let mut select = Vec::with_capacity(mapping.entries.len());
        for entry in &mapping.entries {
            self.check_column_name(&entry.key);
            let expression = self.text(&entry.value, &format!("the expression of `{}`", entry.key.value));
            // A column whose expression cannot be read still is a column, so that `key` may name it.
            let expression = expression.unwrap_or_else(|| Spanned::new("NULL".to_owned(), entry.value.span));
            select.push((entry.key.clone(), expression));
        }
        select
    }

    pub(super) fn key_columns(&mut self, node: &Node, word: &str) -> Vec<Spanned<String>> {
        let Kind::Sequence(items) = &node.kind else {
            return self.text(node, &format!("`{word}`")).into_iter().collect();
        };
        if items.is_empty() {
            let help = format!("list the columns that name a row, or leave `{word}` out");
            self.report("missing-key", node.span, format!("`{word}` has no columns"), Some(help));
        }
        let mut columns: Vec<Spanned<String>> = Vec::with_capacity(items.len());
        for item in items {
            let Some(column) = self.text(item, &format!("a column of `{word}`")) else { continue };
            if columns.iter().any(|c| c.value == column.value) {
                let message = format!("`{}` is in the {word} twice", as_written(&self.source, &column));
                self.report("duplicate-column", column.span, message, None);
            } else {
                columns.push(column);
            }
        }
        columns
    }

    fn expectations(&mut self, node: &Node) -> Vec<Expectation> {
        let holds = "expectations by name, such as `has_body: { check: length(body) > 0, otherwise: quarantine }`";
        let Some(mapping) = self.mapping(node, "`expect`", holds) else { return Vec::new() };
        let mut expectations = Vec::with_capacity(mapping.entries.len());
        for entry in &mapping.entries {
            if let Some(why) = label_refusal(&entry.key.value) {
                let help = "use letters, digits and `_`, starting with a letter".to_owned();
                self.report("bad-name", entry.key.span, format!("the expectation's name {why}"), Some(help));
            }
            let what = format!("the expectation `{}`", entry.key.value);
            let Some(keys) = self.mapping(&entry.value, &what, "`check`, an SQL condition, and `otherwise`") else { continue };
            self.refuse_unknown_keys(keys, key::EXPECTATION, "an expectation");
            let check = self.expectation_key(keys, "check", &entry.key, "length(body) > 0");
            let otherwise = self.expectation_key(keys, "otherwise", &entry.key, "quarantine");
            let otherwise = otherwise.and_then(|text| self.otherwise(&text));
            if let (Some(check), Some(otherwise)) = (check, otherwise) {
                expectations.push(Expectation { name: entry.key.clone(), check, otherwise });
            }
        }
        expectations
    }

    fn expectation_key(&mut self, keys: &Mapping, key: &str, name: &Spanned<String>, example: &str) -> Option<Spanned<String>> {
        let slip = keys.entries.iter().any(|e| crate::diagnostic::nearest(&e.key.value, [key]).is_some());
        if keys.get(key).is_none() && !slip {
            let message = format!("the expectation `{}` has no `{key}`", name.value);
            let help = match key {
                "otherwise" => format!("add `otherwise:` with {}", one_of(&Otherwise::ALL.map(Otherwise::as_str))),
                _ => format!("add `{key}: {example}`"),
            };
            self.report("missing-key", name.span, message, Some(help));
        }
        self.optional_text(keys, key)
    }

    fn otherwise(&mut self, text: &Spanned<String>) -> Option<Otherwise> {
        let word = text.value.trim();
        let found = Otherwise::ALL.into_iter().find(|o| o.as_str() == word);
        if found.is_none() {
            let words = Otherwise::ALL.map(Otherwise::as_str);
            let help = did_you_mean(word, words).unwrap_or_else(|| format!("use {}", one_of(&words)));
            self.report_otherwise(text.span, help);
        }
        found
    }

    fn report_otherwise(&mut self, span: Span, help: String) {
        self.report("wrong-type", span, "`otherwise` does not say what becomes of the row", Some(help));
    }
}
