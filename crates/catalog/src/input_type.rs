//! The types of method inputs.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::attribute_type::inside;
use crate::error::{Error, ErrorKind, Result};
use crate::nearest::nearest;

const NAMES: [&str; 7] = ["string", "integer", "number", "boolean", "path", "object", "array<string>"];

/// Names of other systems and the type that is meant; suggested, not accepted.
const FOREIGN: [(&str, &str); 11] = [
    ("str", "string"),
    ("text", "string"),
    ("int", "integer"),
    ("long", "integer"),
    ("float", "number"),
    ("double", "number"),
    ("bool", "boolean"),
    ("file", "path"),
    ("map", "object"),
    ("dict", "object"),
    ("list", "array<string>"),
];

const MAX_NESTING: usize = 8;

/// The type of a method's input. `Display` and `FromStr` are inverse to each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InputType {
    /// Text.
    String,
    /// A whole number that fits in 64 bits.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// The path or URL of a file, or a glob; never empty.
    Path,
    /// A mapping.
    Object,
    /// A list of values of one type.
    Array(Box<InputType>),
}

impl InputType {
    /// Whether `value` is of this type. Nothing is converted: `"1"` is not an integer, and null is of no type.
    pub fn accepts(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::String, Value::String(_)) | (Self::Boolean, Value::Bool(_)) | (Self::Object, Value::Object(_)) => true,
            (Self::Number, Value::Number(_)) => true,
            (Self::Integer, Value::Number(number)) => number.is_i64() || number.is_u64(),
            (Self::Path, Value::String(path)) => !path.trim().is_empty(),
            (Self::Array(item), Value::Array(values)) => values.iter().all(|value| item.accepts(value)),
            _ => false,
        }
    }

    /// The type with its article, as in "must be an integer".
    pub(crate) fn phrase(&self) -> String {
        match self {
            Self::String => "text".into(),
            Self::Integer => "a whole number".into(),
            Self::Number => "a number".into(),
            Self::Boolean => "`true` or `false`".into(),
            Self::Path => "a path".into(),
            Self::Object => "a mapping".into(),
            Self::Array(item) => format!("a list, each item {}", item.phrase()),
        }
    }
}

impl fmt::Display for InputType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("string"),
            Self::Integer => f.write_str("integer"),
            Self::Number => f.write_str("number"),
            Self::Boolean => f.write_str("boolean"),
            Self::Path => f.write_str("path"),
            Self::Object => f.write_str("object"),
            Self::Array(item) => write!(f, "array<{item}>"),
        }
    }
}

impl FromStr for InputType {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Invalid`]; the hint names the nearest type.
    fn from_str(text: &str) -> Result<Self> {
        parse(text, 0)
    }
}

fn parse(text: &str, depth: usize) -> Result<InputType> {
    let name = text.trim().to_lowercase();
    if let Some(item) = inside(&name, "array", '<', '>') {
        if depth >= MAX_NESTING {
            return Err(Error::new(ErrorKind::Invalid, format!("`array` is nested deeper than {MAX_NESTING} times")));
        }
        return Ok(InputType::Array(Box::new(parse(item, depth + 1)?)));
    }
    Ok(match name.as_str() {
        "string" => InputType::String,
        "integer" => InputType::Integer,
        "number" => InputType::Number,
        "boolean" => InputType::Boolean,
        "path" => InputType::Path,
        "object" => InputType::Object,
        "array" => {
            return Err(Error::new(ErrorKind::Invalid, "`array` needs the type of its items").with_hint("write `array<string>`"));
        }
        _ => return Err(unknown(text.trim(), &name)),
    })
}

fn unknown(written: &str, lower: &str) -> Error {
    let foreign = FOREIGN.iter().find(|(name, _)| *name == lower).map(|(_, meant)| *meant);
    let hint = match foreign.or_else(|| nearest(lower, NAMES)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "one of: string, integer, number, boolean, path, object, array<type>".into(),
    };
    Error::new(ErrorKind::Invalid, format!("unknown input type `{written}`")).with_hint(hint)
}

impl Serialize for InputType {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_reads_back_as_it_is_shown() {
        for text in ["string", "integer", "number", "boolean", "path", "object", "array<path>", "array<array<integer>>"] {
            assert_eq!(text.parse::<InputType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_unknown_type_names_the_nearest() {
        assert_eq!("bool".parse::<InputType>().unwrap_err().hint(), Some("did you mean `boolean`?"));
        assert_eq!("intger".parse::<InputType>().unwrap_err().hint(), Some("did you mean `integer`?"));
        assert!("array".parse::<InputType>().is_err());
    }

    #[test]
    fn a_value_is_never_converted() {
        let accepts = |text: &str, value: Value| text.parse::<InputType>().unwrap().accepts(&value);
        assert!(accepts("integer", json!(18_446_744_073_709_551_615_u64)) && accepts("integer", json!(-3)));
        assert!(!accepts("integer", json!(3.0)) && !accepts("integer", json!("3")) && !accepts("string", json!(3)));
        assert!(accepts("number", json!(3)) && accepts("number", json!(3.5)) && !accepts("number", json!(true)));
        assert!(accepts("path", json!("a/*.csv")) && !accepts("path", json!(" ")));
        assert!(accepts("array<integer>", json!([])) && !accepts("array<integer>", json!([1, "2"])));
        assert!(accepts("object", json!({})) && !accepts("object", json!([])));
        assert!(!accepts("string", Value::Null));
    }
}
