//! A table under `gold:`.

use super::Reader;
use crate::diagnostic::Spanned;
use crate::pipeline::key;
use crate::pipeline::model::{GoldTable, TableName};
use crate::pipeline::yaml::{Mapping, Node};

impl Reader {
    pub(super) fn gold(&mut self, name: Spanned<TableName>, _node: &Node, keys: &Mapping) -> Option<GoldTable> {
        self.refuse_unknown_keys(keys, key::GOLD, "a gold table");
        let sql = self.required_text(keys, "sql", &name, "SELECT ... FROM silver.posts");
        let description = self.description(keys);
        Some(GoldTable { name, sql: sql?, description })
    }
}
