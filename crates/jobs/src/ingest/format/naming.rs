//! Column names that Delta can hold, the same for the same key from file to file.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::{DataType, Field, FieldRef, Fields};

/// The metadata entry of a field whose name is not the key that was delivered: the key.
pub const KEY_METADATA: &str = "lake.key";

/// Names of the platform's own Bronze columns. A raw column of such a name gets the prefix `raw_`.
pub const RESERVED: [&str; 6] = [lake::WORKSPACE_COLUMN, "_source", "_source_row", "_ingested_at", "_run_id", "_rescued"];

/// The key that a column's values are delivered under.
pub fn key_of(field: &Field) -> &str {
    field.metadata().get(KEY_METADATA).unwrap_or(field.name())
}

/// A nullable field called `name` for the values of `key`.
pub(super) fn field(name: &str, key: &str, kind: DataType) -> Field {
    let field = Field::new(name, kind, true);
    match name == key {
        true => field,
        false => field.with_metadata(HashMap::from([(KEY_METADATA.to_owned(), key.to_owned())])),
    }
}

/// Names for the fields of one struct, or of the table itself.
#[derive(Debug, Default)]
pub(super) struct Naming {
    known: HashMap<String, String>,
    taken: HashSet<String>,
    /// At the table's level: the feed's workspace column, which may have the reserved name.
    top: Option<Option<String>>,
}

impl Naming {
    /// For the columns of a table.
    pub(super) fn of_table(known: &Fields, workspace_column: Option<&str>) -> Self {
        Self { top: Some(workspace_column.map(str::to_owned)), ..Self::default() }.with(known)
    }

    /// For the fields of a struct.
    pub(super) fn of_struct(known: &Fields) -> Self {
        Self::default().with(known)
    }

    fn with(mut self, known: &Fields) -> Self {
        for field in self.raw(known) {
            self.known.insert(key_of(&field).to_owned(), field.name().clone());
            self.taken.insert(field.name().to_lowercase());
        }
        self
    }

    /// The fields among `known` that are not the platform's own.
    pub(super) fn raw(&self, known: &Fields) -> Vec<FieldRef> {
        known.iter().filter(|f| !self.is_reserved(f.name())).cloned().collect()
    }

    /// The name of the column for `key`, which stands at `position` (from 1) among its siblings.
    pub(super) fn name(&mut self, key: &str, position: usize) -> String {
        if let Some(name) = self.known.get(key) {
            return name.clone();
        }
        let mut base = allowed(key);
        if base.is_empty() {
            base = format!("column_{position}");
        }
        if self.is_reserved(&base) {
            base.insert_str(0, "raw_");
        }
        let name = self.distinct(&base);
        self.known.insert(key.to_owned(), name.clone());
        name
    }

    /// `base`, numbered when a sibling's name is equal but for case.
    pub(super) fn distinct(&mut self, base: &str) -> String {
        (1..)
            .map(|n| if n == 1 { base.to_owned() } else { format!("{base}_{n}") })
            .find(|name| self.taken.insert(name.to_lowercase()))
            .unwrap_or_default()
    }

    fn is_reserved(&self, name: &str) -> bool {
        let Some(workspace_column) = &self.top else { return false };
        let lower = name.to_lowercase();
        let own = workspace_column.as_deref() == Some(name) && lower == lake::WORKSPACE_COLUMN;
        !own && (RESERVED.contains(&lower.as_str()) || lower.starts_with("__lake"))
    }
}

/// `key` without what Delta forbids in a name: a run of it becomes one `_`, and none at either end.
fn allowed(key: &str) -> String {
    let forbidden = |c: char| " ,;{}()=".contains(c) || c.is_control();
    let key = key.trim().trim_matches(forbidden);
    let mut name = String::with_capacity(key.len());
    let mut in_run = false;
    for character in key.chars() {
        match (forbidden(character), in_run) {
            (true, false) => name.push('_'),
            (true, true) => {}
            (false, _) => name.push(character),
        }
        in_run = forbidden(character);
    }
    name
}

/// CSV headers and Parquet columns may repeat a name: the second `a` is delivered under the key `a_2`.
pub(super) fn distinct_keys(headers: &[String]) -> Vec<String> {
    let given: HashSet<&str> = headers.iter().map(String::as_str).collect();
    let mut used = HashSet::new();
    let mut keys = Vec::with_capacity(headers.len());
    for header in headers {
        let key = match used.insert(header.clone()) {
            true => header.clone(),
            false => (2..)
                .map(|n| format!("{header}_{n}"))
                .find(|k| !given.contains(k.as_str()) && used.insert(k.clone()))
                .unwrap_or_default(),
        };
        keys.push(key);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(keys: &[&str]) -> Vec<String> {
        let mut naming = Naming::of_table(&Fields::empty(), None);
        keys.iter().enumerate().map(|(i, k)| naming.name(k, i + 1)).collect()
    }

    #[test]
    fn names_hold_nothing_that_delta_forbids() {
        assert_eq!(
            names(&["Amount (EUR)", " a b ", "a;=b\n", "x.y", "_id", "größe"]),
            ["Amount_EUR", "a_b", "a_b_2", "x.y", "_id", "größe"]
        );
        assert_eq!(names(&["a", "", " \t", "()"]), ["a", "column_2", "column_3", "column_4"]);
    }

    #[test]
    fn names_equal_but_for_case_are_numbered() {
        assert_eq!(names(&["id", "ID", "Id", "id_2"]), ["id", "ID_2", "Id_3", "id_2_2"]);
    }

    #[test]
    fn reserved_names_get_a_prefix() {
        assert_eq!(
            names(&["_source", "_Rescued", "workspace_id", "__lake_x", "_run_id", "source"]),
            ["raw__source", "raw__Rescued", "raw_workspace_id", "raw___lake_x", "raw__run_id", "source"]
        );
        let mut naming = Naming::of_table(&Fields::empty(), Some("workspace_id"));
        assert_eq!(naming.name("workspace_id", 1), "workspace_id");
        assert_eq!(naming.name("_source", 2), "raw__source");
        assert_eq!(Naming::of_struct(&Fields::empty()).name("_source", 1), "_source");
    }

    #[test]
    fn the_same_key_keeps_its_name_whatever_the_order_of_the_next_file() {
        let mut first = Naming::of_table(&Fields::empty(), None);
        let keys = ["a b", "a_b", "id", "ID"];
        let fields: Fields = keys.iter().map(|k| field(&first.name(k, 1), k, DataType::Utf8)).collect();
        let mut second = Naming::of_table(&fields, None);
        for (key, known) in keys.iter().zip(&fields).rev() {
            assert_eq!(&second.name(key, 1), known.name());
        }
    }

    #[test]
    fn repeated_headers_become_distinct_keys() {
        let headers = ["a", "a", "a_2", "a", "b"].map(str::to_owned);
        assert_eq!(distinct_keys(&headers), ["a", "a_3", "a_2", "a_4", "b"]);
    }
}
