//! A table under `bronze:`.

use arrow::datatypes::DataType;

use super::Reader;
use super::value::json;
use crate::diagnostic::Spanned;
use crate::pipeline::model::{BronzeTable, MethodInput, TableName};
use crate::pipeline::origin::Origin;
use crate::pipeline::yaml::{Mapping, Node};
use crate::pipeline::{key, name, types};

impl Reader {
    pub(super) fn bronze(&mut self, name: Spanned<TableName>, _node: &Node, keys: &Mapping) -> Option<BronzeTable> {
        self.refuse_unknown_keys(keys, key::BRONZE, "a bronze table");
        let method = self.required_text(keys, "method", &name, "file_ingest");
        let inputs_span = keys.get("inputs").map_or(name.span, |e| e.key.span);
        let inputs = keys.get("inputs").map(|e| self.inputs(&e.value)).unwrap_or_default();
        let columns = keys.get("columns").map(|e| self.columns(&e.value)).unwrap_or_default();
        let description = self.description(keys);
        Some(BronzeTable { name, method: method?, inputs, inputs_span, columns, description })
    }

    fn inputs(&mut self, node: &Node) -> Vec<MethodInput> {
        let Some(mapping) = self.mapping(node, "`inputs`", "the method's inputs by name") else { return Vec::new() };
        let mut inputs = Vec::with_capacity(mapping.entries.len());
        for entry in &mapping.entries {
            if let Some(value) = json(self, &entry.value) {
                inputs.push(MethodInput { name: entry.key.clone(), value: Spanned::new(value, entry.value.span) });
            }
        }
        inputs
    }

    fn columns(&mut self, node: &Node) -> Vec<(Spanned<String>, Spanned<DataType>)> {
        let Some(mapping) = self.mapping(node, "`columns`", "column names and their types, such as `id: long`") else {
            return Vec::new();
        };
        let mut columns = Vec::with_capacity(mapping.entries.len());
        for entry in &mapping.entries {
            self.check_column_name(&entry.key);
            if name::is_platform_column(&entry.key.value) {
                let message = format!("the column `{}` is kept for the platform", entry.key.value);
                let help = "every bronze table has it without being told; leave it out".to_owned();
                self.report("bad-name", entry.key.span, message, Some(help));
            }
            columns.extend(self.column_type(&entry.value).map(|data_type| (entry.key.clone(), data_type)));
        }
        columns
    }

    fn column_type(&mut self, node: &Node) -> Option<Spanned<DataType>> {
        let text = self.text(node, "the column's type")?;
        match types::parse(&text.value) {
            Ok(data_type) => Some(Spanned::new(data_type, text.span)),
            Err(error) => {
                let origin = Origin::new(&self.source, text.span, &text.value);
                let message = origin.redact(&error.message);
                self.report("bad-type", origin.span(error.at), message, error.help);
                None
            }
        }
    }
}
