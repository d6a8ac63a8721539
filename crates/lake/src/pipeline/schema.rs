//! The JSON Schema of pipeline files, for editors. It is beside the reader so that the two change together.

use serde_json::{Value, json};

use super::key;
use super::model::Otherwise;
use super::types::TYPE_WORDS;

/// The JSON Schema (draft 2020-12) that `lake schema` prints.
pub fn json_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lake pipeline",
        "description": "Tables from raw to derived: bronze as delivered, silver typed and checked, gold by SQL.",
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": {
            "name": {
                "type": "string",
                "pattern": "^[A-Za-z][A-Za-z0-9_-]*$",
                "maxLength": 64,
                "description": "The pipeline's name, in reports and lineage."
            },
            "ontology": {
                "type": ["string", "number"],
                "description": "The version of the catalog's ontology that `entity:` refers to."
            },
            "workspace": {
                "description": "The workspace of all rows, or the column of the data that names it row by row. When left out: the flag, the environment, or `default`.",
                "oneOf": [
                    { "type": ["string", "number"] },
                    {
                        "type": "object",
                        "additionalProperties": false,
                        "required": key::WORKSPACE,
                        "properties": {
                            "column": { "type": "string", "description": "The column that names a row's workspace." }
                        }
                    }
                ]
            },
            "bronze": tables("Tables as delivered; each is filled by a method of the catalog.", "bronze"),
            "silver": tables("Typed, deduplicated and checked tables, each from one bronze table.", "silver"),
            "gold": tables("Tables derived by SQL from any other tables.", "gold"),
            "vectors": tables("Texts of a table with their vectors, in step with it, and searched by meaning.", "vectors"),
            "graph": tables("What the rows of a table add to the pipeline's graph of nodes and edges.", "graph")
        },
        "$defs": {
            "bronze": bronze(),
            "silver": silver(),
            "gold": gold(),
            "vectors": vectors(),
            "graph": graph(),
            "properties": properties(),
            "end": end(),
            "expectation": expectation(),
            "sql": {
                "type": ["string", "number", "boolean"],
                "description": "An SQL expression. Names are case-sensitive; `a.b` is field `b` of struct `a`."
            },
            "column": {
                "type": "string",
                "pattern": "^[^ ,;{}()\\n\\t=]+$",
                "description": "A column's name."
            }
        }
    })
}

fn tables(description: &str, layer: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "minProperties": 1,
        "propertyNames": { "pattern": "^[a-z][a-z0-9_]*$", "maxLength": 64 },
        "additionalProperties": { "$ref": format!("#/$defs/{layer}") }
    })
}

fn bronze() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["method"],
        "properties": {
            "method": { "type": "string", "description": "The id of a method of the catalog, such as `file_ingest`." },
            "inputs": { "type": "object", "description": "The method's inputs by name; the catalog says which there are." },
            "columns": {
                "type": "object",
                "propertyNames": { "$ref": "#/$defs/column" },
                "additionalProperties": {
                    "type": "string",
                    "pattern": format!("^\\s*({})", TYPE_WORDS.join("|")),
                    "description": "string, integer, long, float, double, boolean, date, timestamp, decimal(p, s), array<type> or struct<name: type>."
                },
                "description": "Columns that the data has though a sample may not show them."
            },
            "description": description()
        }
    })
}

fn silver() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["from"],
        "properties": {
            "from": { "type": "string", "pattern": "^(bronze\\.[a-z][a-z0-9_]*|.*\\$\\{.*)$", "description": "The bronze table to read." },
            "entity": { "type": "string", "description": "The entity of the ontology that gives columns, types and key." },
            "select": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": { "$ref": "#/$defs/column" },
                "additionalProperties": { "$ref": "#/$defs/sql" },
                "description": "Output columns and their expressions over the bronze table's columns. When left out: the entity's columns by name, or all columns."
            },
            "where": { "$ref": "#/$defs/sql", "description": "A condition over the bronze table's columns; rows for which it does not hold are dropped." },
            "key": {
                "oneOf": [
                    { "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "string" } },
                    { "type": "string" }
                ],
                "description": "The output columns that tell one row from another; of the rows of a key the latest stays."
            },
            "sequence_by": { "$ref": "#/$defs/sql", "description": "What orders the rows of a key; the greatest wins. Needs a key." },
            "delete_when": { "$ref": "#/$defs/sql", "description": "A condition over the bronze table's columns; rows for which it holds delete their key." },
            "merge_on_read": { "type": "boolean", "description": "Whether changed rows may be marked as deleted where that costs less than writing their files anew. For tables whose readers know Delta's deletion vectors. Needs a key." },
            "expect": {
                "type": "object",
                "propertyNames": { "pattern": "^[A-Za-z][A-Za-z0-9_-]*$", "maxLength": 64 },
                "additionalProperties": { "$ref": "#/$defs/expectation" },
                "description": "What must hold for each row, by name."
            },
            "description": description()
        }
    })
}

fn expectation() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": key::EXPECTATION,
        "properties": {
            "check": { "$ref": "#/$defs/sql", "description": "A condition over the output columns, then the bronze table's." },
            "otherwise": {
                "enum": Otherwise::ALL.map(Otherwise::as_str),
                "description": "What becomes of a row for which it is false or null: counted and kept, left out, kept in the quarantine table, or the job fails."
            }
        }
    })
}

fn gold() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["sql"],
        "properties": {
            "sql": { "type": "string", "description": "One query over `bronze.x`, `silver.x` and `gold.x`, run once for each workspace." },
            "description": description()
        }
    })
}

fn vectors() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["from", "embed"],
        "properties": {
            "from": source(),
            "id": {
                "oneOf": [
                    { "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "string" } },
                    { "type": "string" }
                ],
                "description": "The columns that tell one row from another. When left out: the key of the silver table."
            },
            "embed": { "$ref": "#/$defs/sql", "description": "The text to make a vector of. A row without text has none." },
            "payload": { "$ref": "#/$defs/properties", "description": "What a search gives back and can be narrowed by." },
            "where": { "$ref": "#/$defs/sql", "description": "Rows for which it does not hold have no vectors." },
            "chunk": {
                "type": "object",
                "additionalProperties": false,
                "required": ["by", "size"],
                "properties": {
                    "by": { "enum": key::CHUNK_BY, "description": "What is counted." },
                    "size": { "type": "integer", "minimum": 1, "description": "How many of them a chunk has at most." },
                    "overlap": { "type": "integer", "minimum": 0, "description": "How many of them a chunk repeats of the one before." }
                },
                "description": "How long texts are cut; each chunk has a vector. Whole texts when left out."
            },
            "description": description()
        }
    })
}

fn graph() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["from", "nodes"],
        "properties": {
            "from": source(),
            "where": { "$ref": "#/$defs/sql", "description": "Rows for which it does not hold add nothing to the graph." },
            "nodes": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": label(),
                "additionalProperties": {
                    "oneOf": [
                        { "$ref": "#/$defs/sql" },
                        {
                            "type": "object",
                            "additionalProperties": false,
                            "required": ["id"],
                            "properties": {
                                "id": { "$ref": "#/$defs/sql", "description": "What names the node among those of its label." },
                                "properties": { "$ref": "#/$defs/properties" }
                            }
                        }
                    ]
                },
                "description": "Nodes by label: the expression that names each, or that and its properties."
            },
            "edges": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["type", "from", "to"],
                    "properties": {
                        "type": label(),
                        "from": { "$ref": "#/$defs/end" },
                        "to": { "$ref": "#/$defs/end" },
                        "properties": { "$ref": "#/$defs/properties" }
                    }
                },
                "description": "Edges between the nodes of a row."
            }
        }
    })
}

fn source() -> Value {
    json!({ "type": "string", "pattern": "^((silver|gold)\\.[a-z][a-z0-9_]*|.*\\$\\{.*)$", "description": "The silver or gold table to follow." })
}

fn label() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*$", "maxLength": 64 })
}

fn properties() -> Value {
    json!({
        "oneOf": [
            { "type": "array", "items": { "$ref": "#/$defs/column" } },
            { "type": "string" },
            { "type": "object", "propertyNames": { "$ref": "#/$defs/column" }, "additionalProperties": { "$ref": "#/$defs/sql" } }
        ],
        "description": "Columns, or names with SQL expressions over the table's columns."
    })
}

fn end() -> Value {
    json!({
        "oneOf": [
            label(),
            { "type": "object", "minProperties": 1, "maxProperties": 1, "propertyNames": label(), "additionalProperties": { "$ref": "#/$defs/sql" } }
        ],
        "description": "A label of `nodes`, or a label and the expression that names the node."
    })
}

fn description() -> Value {
    json!({ "type": "string", "description": "What the table is for." })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn keys(schema: &Value, pointer: &str) -> BTreeSet<String> {
        schema.pointer(pointer).and_then(Value::as_object).unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_schema_has_the_keys_that_the_reader_accepts() {
        let schema = json_schema();
        for (pointer, known) in [
            ("/properties", key::PIPELINE),
            ("/properties/workspace/oneOf/1/properties", key::WORKSPACE),
            ("/$defs/bronze/properties", key::BRONZE),
            ("/$defs/silver/properties", key::SILVER),
            ("/$defs/gold/properties", key::GOLD),
            ("/$defs/vectors/properties", key::VECTORS),
            ("/$defs/vectors/properties/chunk/properties", key::CHUNK),
            ("/$defs/graph/properties", key::GRAPH),
            ("/$defs/graph/properties/nodes/additionalProperties/oneOf/1/properties", key::NODE),
            ("/$defs/graph/properties/edges/items/properties", key::EDGE),
            ("/$defs/expectation/properties", key::EXPECTATION),
        ] {
            let known: BTreeSet<String> = known.iter().map(|k| (*k).to_owned()).collect();
            assert_eq!(keys(&schema, pointer), known, "{pointer}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(value: &Value, schema: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                        assert!(schema.pointer(&reference[1..]).is_some(), "{reference}");
                    }
                    map.values().for_each(|v| check(v, schema));
                }
                Value::Array(items) => items.iter().for_each(|v| check(v, schema)),
                _ => {}
            }
        }
        let schema = json_schema();
        check(&schema, &schema);
    }
}
