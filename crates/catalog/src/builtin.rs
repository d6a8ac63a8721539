//! The methods that need no catalog: the signatures of the jobs that `lake` itself has.

use serde_json::{Value, json};

use crate::input_type::InputType;
use crate::method::{InputSpec, Method};

/// Brings files into a bronze table.
pub const FILE_INGEST: &str = "file_ingest";
/// Makes a silver table from a bronze one.
pub const REFINE: &str = "refine";
/// Makes a gold table by SQL.
pub const AGGREGATE: &str = "aggregate";

/// Whether this is the id of a built-in method; a catalog cannot define one.
pub fn is_builtin(method_id: &str) -> bool {
    [FILE_INGEST, REFINE, AGGREGATE].contains(&method_id)
}

/// All built-in methods, sorted by id. They have no program and may bring any entity.
pub fn methods() -> Vec<Method> {
    vec![aggregate(), file_ingest(), refine()]
}

fn file_ingest() -> Method {
    let inputs = vec![
        required("path", InputType::Path, "A file, or a glob such as `data/posts/*.ndjson`; local, or a URL of object storage."),
        optional("format", InputType::String, "How all the files are written; when not given, the name of each tells.")
            .one_of(&["csv", "ndjson", "json", "parquet"]),
        optional("compression", InputType::String, "How the files are compressed; `auto` goes by their names.")
            .one_of(&["none", "gzip", "zstd", "auto"])
            .or(json!("auto")),
        optional("delimiter", InputType::String, "What separates the fields of a CSV file, one character.").or(json!(",")),
        optional("header", InputType::Boolean, "Whether the first line of a CSV file names its columns.").or(json!(true)),
    ];
    let description = "Reads CSV, NDJSON, JSON or Parquet files, text in UTF-8, each file once, and again when it changes.";
    method(FILE_INGEST, "File ingest", description, inputs)
}

fn refine() -> Method {
    let inputs = vec![
        required("from", InputType::String, "The bronze table it reads."),
        optional("entity", InputType::String, "The entity of the ontology that gives columns, types and key."),
        optional("select", InputType::Object, "Each column and its SQL expression over the columns of `from`."),
        optional("where", InputType::String, "An SQL condition over the columns of `from`; other rows are dropped."),
        optional("key", InputType::Array(Box::new(InputType::String)), "The columns that tell two rows apart."),
        optional("sequence_by", InputType::String, "An SQL expression; of the rows of a key the greatest is kept."),
        optional("delete_when", InputType::String, "An SQL condition; a row for which it holds deletes its key."),
        optional("expect", InputType::Object, "Conditions each row must meet, and what happens to a row that does not."),
    ];
    let description = "Makes a typed, checked table of one row for each key from a bronze table.";
    method(REFINE, "Refine", description, inputs)
}

fn aggregate() -> Method {
    let inputs = vec![required("sql", InputType::String, "A query over the tables of the workspace.")];
    method(AGGREGATE, "Aggregate", "Makes a table from the result of a query, for each workspace.", inputs)
}

fn method(id: &str, name: &str, description: &str, inputs: Vec<Input>) -> Method {
    Method {
        method_id: id.to_owned(),
        name: Some(name.to_owned()),
        description: Some(description.to_owned()),
        entity_types: Vec::new(),
        inputs: inputs.into_iter().map(|input| (input.name.to_owned(), input.spec)).collect(),
        outputs: Vec::new(),
        program: None,
    }
}

/// An input under construction.
struct Input {
    name: &'static str,
    spec: InputSpec,
}

fn required(name: &'static str, data_type: InputType, description: &str) -> Input {
    Input { name, spec: InputSpec { description: Some(description.to_owned()), ..InputSpec::required(data_type) } }
}

fn optional(name: &'static str, data_type: InputType, description: &str) -> Input {
    let input = required(name, data_type, description);
    Input { spec: InputSpec { required: false, ..input.spec }, ..input }
}

impl Input {
    fn one_of(mut self, allowed: &[&str]) -> Self {
        self.spec.allowed = Some(allowed.iter().map(|value| json!(value)).collect());
        self
    }

    fn or(mut self, default: Value) -> Self {
        self.spec.default = Some(default);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signature_is_one_a_catalog_could_have_written() {
        for method in methods() {
            assert!(is_builtin(&method.method_id));
            assert_eq!(Method::from_text("builtin", &serde_json::to_string(&method).unwrap()).unwrap(), method);
        }
    }

    #[test]
    fn file_ingest_needs_a_path_and_fills_in_the_rest() {
        let method = file_ingest();
        let given = [("path".to_owned(), json!("data/*.csv"))];
        assert_eq!(method.check_inputs(&given), []);
        let complete = Value::Object(method.with_defaults(&given));
        assert_eq!(complete, json!({"path": "data/*.csv", "compression": "auto", "delimiter": ",", "header": true}));
        let wrong = [("path".to_owned(), json!("x")), ("format".to_owned(), json!("jsonl"))];
        assert_eq!(
            method.check_inputs(&wrong)[0].help.as_deref(),
            Some("did you mean `json`? allowed: `csv`, `ndjson`, `json`, `parquet`")
        );
        assert_eq!(method.check_inputs(&[])[0].message, "method `file_ingest` needs the input `path`");
    }
}
