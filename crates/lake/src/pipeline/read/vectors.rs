//! A table under `vectors:`.

use super::Reader;
use crate::diagnostic::{Span, Spanned};
use crate::embed::{ChunkBy, Chunking};
use crate::pipeline::key;
use crate::pipeline::model::{EMBEDDING_CACHE, Layer, Properties, TableName, VectorTable};
use crate::pipeline::name::{did_you_mean, one_of, parse_table};
use crate::pipeline::origin::as_written;
use crate::pipeline::yaml::{Kind, Mapping, Node};

impl Reader {
    pub(super) fn vectors(&mut self, name: Spanned<TableName>, _node: &Node, keys: &Mapping) -> Option<VectorTable> {
        self.refuse_unknown_keys(keys, key::VECTORS, "a vector table");
        if name.value.name == EMBEDDING_CACHE {
            let message = format!("`{EMBEDDING_CACHE}` is kept for the vectors of texts that come again");
            self.report("bad-name", name.span, message, Some("call it something else".to_owned()));
        }
        let from =
            self.required_text(keys, "from", &name, "silver.posts").and_then(|text| self.source_name(text, "a vector table"));
        let id = keys.get("id").map(|e| self.key_columns(&e.value, "id")).unwrap_or_default();
        let embed = self.required_text(keys, "embed", &name, "body");
        let payload = self.properties(keys, "payload");
        let filter = self.optional_text(keys, "where");
        let chunk = keys.get("chunk").and_then(|e| self.chunking(&e.value));
        let description = self.description(keys);
        Some(VectorTable { name, from: from?, id, embed: embed?, payload, filter, chunk, description })
    }

    /// The silver or gold table that `reader` follows.
    pub(super) fn source_name(&mut self, text: Spanned<String>, reader: &str) -> Option<Spanned<TableName>> {
        match parse_table(text.value.trim()) {
            Some(name) if matches!(name.layer, Layer::Silver | Layer::Gold) => Some(Spanned::new(name, text.span)),
            Some(name) => {
                let help = "name the silver or gold table that holds the rows".to_owned();
                self.report("wrong-type", text.span, format!("{reader} reads silver or gold, not {}", name.layer), Some(help));
                None
            }
            None => {
                let bare = text.value.trim().rsplit('.').next().unwrap_or_default();
                let help = match parse_table(&format!("silver.{bare}")) {
                    Some(name) if as_written(&self.source, &text) == text.value => format!("did you mean `{name}`?"),
                    _ => "write it as `silver.name` or `gold.name`".to_owned(),
                };
                self.report("wrong-type", text.span, "`from` is not of the form `silver.name`", Some(help));
                None
            }
        }
    }

    /// Columns, each under its own name, or names with expressions.
    pub(super) fn properties(&mut self, keys: &Mapping, word: &str) -> Properties {
        let Some(entry) = keys.get(word) else { return Vec::new() };
        if let Kind::Mapping(_) = &entry.value.kind {
            return self.select(&entry.value);
        }
        let columns = self.key_columns(&entry.value, word);
        columns.iter().for_each(|column| self.check_column_name(column));
        let quoted = |c: Spanned<String>| {
            let expression = Spanned::new(format!("\"{}\"", c.value.replace('"', "\"\"")), c.span);
            (c, expression)
        };
        columns.into_iter().map(quoted).collect()
    }

    fn chunking(&mut self, node: &Node) -> Option<Spanned<Chunking>> {
        let keys = self.mapping(node, "`chunk`", "`by`, `size` and, if chunks overlap, `overlap`")?;
        self.refuse_unknown_keys(keys, key::CHUNK, "`chunk`");
        for word in ["by", "size"].into_iter().filter(|word| keys.get(word).is_none()) {
            let help = "write `chunk: { by: sentences, size: 5, overlap: 1 }`".to_owned();
            self.report("missing-key", node.span, format!("`chunk` has no `{word}`"), Some(help));
        }
        let by = self.optional_text(keys, "by").and_then(|text| self.chunk_by(&text));
        let size = self.count(keys, "size");
        let overlap = self.count(keys, "overlap");
        let chunking = Chunking { by: by?, size: size?.value, overlap: overlap.as_ref().map_or(0, |o| o.value) };
        if chunking.size == 0 || chunking.overlap >= chunking.size {
            let span = overlap.map_or(node.span, |o| o.span);
            let help = "chunks have at least one, and repeat fewer than they have".to_owned();
            self.report("wrong-type", span, "chunks of this size and overlap would never end", Some(help));
        }
        Some(Spanned::new(chunking, node.span))
    }

    fn chunk_by(&mut self, text: &Spanned<String>) -> Option<ChunkBy> {
        match text.value.trim() {
            "characters" => Some(ChunkBy::Characters),
            "sentences" => Some(ChunkBy::Sentences),
            "tokens" => Some(ChunkBy::Tokens),
            word => {
                let help =
                    did_you_mean(word, key::CHUNK_BY.iter().copied()).unwrap_or_else(|| format!("use {}", one_of(key::CHUNK_BY)));
                self.report("wrong-type", text.span, "`by` does not say what is counted", Some(help));
                None
            }
        }
    }

    fn count(&mut self, keys: &Mapping, word: &str) -> Option<Spanned<usize>> {
        let text = self.optional_text(keys, word)?;
        match text.value.trim().parse() {
            Ok(number) => Some(Spanned::new(number, text.span)),
            Err(_) => {
                self.wrong_count(text.span, word);
                None
            }
        }
    }

    fn wrong_count(&mut self, span: Span, word: &str) {
        self.report("wrong-type", span, format!("`{word}` is no whole number"), Some("write a number such as 200".to_owned()));
    }
}
