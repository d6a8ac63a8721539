//! The types of entity attributes and method outputs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::nearest::nearest;

/// The names a catalog may use; the parameters of `decimal` and `array` are shown by example.
const NAMES: [&str; 10] =
    ["string", "integer", "long", "float", "double", "boolean", "date", "timestamp", "decimal(12,2)", "array<string>"];

/// Names of other systems and the type that is meant; suggested, not accepted.
const FOREIGN: [(&str, &str); 15] = [
    ("bool", "boolean"),
    ("str", "string"),
    ("varchar", "string"),
    ("char", "string"),
    ("uuid", "string"),
    ("datetime", "timestamp"),
    ("timestamptz", "timestamp"),
    ("real", "float"),
    ("float32", "float"),
    ("float64", "double"),
    ("int32", "integer"),
    ("int64", "long"),
    ("number", "double"),
    ("numeric", "decimal(12,2)"),
    ("list", "array<string>"),
];

/// The greatest number of digits a decimal can hold.
const MAX_PRECISION: u8 = 38;

/// Arrays of arrays of arrays; deeper is a mistake, and a limit keeps hostile text off the stack.
const MAX_NESTING: usize = 8;

/// The type of an attribute. `Display` and `FromStr` are inverse to each other; `FromStr` also takes the aliases `int`,
/// `bigint` and `text`, upper case, and white space.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AttributeType {
    /// UTF-8 text.
    String,
    /// 32 bit signed.
    Integer,
    /// 64 bit signed.
    Long,
    /// 32 bit floating point.
    Float,
    /// 64 bit floating point.
    Double,
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// An instant, in UTC, to the microsecond.
    Timestamp,
    /// An exact number: `precision` digits (1 to 38), `scale` of them after the point.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// A list of values of one type.
    Array(Box<AttributeType>),
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("string"),
            Self::Integer => f.write_str("integer"),
            Self::Long => f.write_str("long"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Boolean => f.write_str("boolean"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Array(item) => write!(f, "array<{item}>"),
        }
    }
}

impl FromStr for AttributeType {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Invalid`]; the hint names the nearest type.
    fn from_str(text: &str) -> Result<Self> {
        parse(text, 0)
    }
}

fn parse(text: &str, depth: usize) -> Result<AttributeType> {
    let name = text.trim().to_lowercase();
    if let Some(item) = inside(&name, "array", '<', '>') {
        if depth >= MAX_NESTING {
            return Err(invalid(format!("`array` is nested deeper than {MAX_NESTING} times")));
        }
        return Ok(AttributeType::Array(Box::new(parse(item, depth + 1)?)));
    }
    if let Some(parameters) = inside(&name, "decimal", '(', ')') {
        return parse_decimal(parameters);
    }
    Ok(match name.as_str() {
        "string" | "text" => AttributeType::String,
        "integer" | "int" => AttributeType::Integer,
        "long" | "bigint" => AttributeType::Long,
        "float" => AttributeType::Float,
        "double" => AttributeType::Double,
        "boolean" => AttributeType::Boolean,
        "date" => AttributeType::Date,
        "timestamp" => AttributeType::Timestamp,
        "decimal" => return Err(invalid("`decimal` needs its digits").with_hint("write `decimal(12,2)`")),
        "array" => return Err(invalid("`array` needs the type of its items").with_hint("write `array<string>`")),
        _ => return Err(unknown(text.trim(), &name)),
    })
}

/// What stands between the brackets of `name<...>` or `name(...)`.
pub(crate) fn inside<'a>(text: &'a str, name: &str, open: char, close: char) -> Option<&'a str> {
    text.strip_prefix(name)?.trim_start().strip_prefix(open)?.strip_suffix(close)
}

fn parse_decimal(parameters: &str) -> Result<AttributeType> {
    let digits = |text: Option<&str>| text.and_then(|digits| digits.trim().parse::<u8>().ok());
    let mut parts = parameters.split(',');
    match (digits(parts.next()), digits(parts.next()), parts.next()) {
        (Some(precision), Some(scale), None) if (1..=MAX_PRECISION).contains(&precision) && scale <= precision => {
            Ok(AttributeType::Decimal { precision, scale })
        }
        _ => Err(invalid(format!("`decimal({parameters})` is not a decimal type")).with_hint(
            "write `decimal(precision,scale)` with 1 to 38 digits, and no more of them after the point than there are",
        )),
    }
}

fn unknown(written: &str, lower: &str) -> Error {
    let foreign = FOREIGN.iter().find(|(name, _)| *name == lower).map(|(_, meant)| *meant);
    let hint = match foreign.or_else(|| nearest(lower, NAMES)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            "one of: string, integer, long, float, double, boolean, date, timestamp, decimal(precision,scale), array<type>".into()
        }
    };
    invalid(format!("unknown type `{written}`")).with_hint(hint)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

impl Serialize for AttributeType {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttributeType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_as_it_is_shown() {
        let texts = [
            "string",
            "integer",
            "long",
            "float",
            "double",
            "boolean",
            "date",
            "timestamp",
            "decimal(38,0)",
            "decimal(12,2)",
            "array<decimal(5,5)>",
            "array<array<long>>",
        ];
        for text in texts {
            assert_eq!(text.parse::<AttributeType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn aliases_case_and_white_space_are_accepted() {
        for (text, shown) in [
            ("INT", "integer"),
            ("bigint", "long"),
            ("text", "string"),
            (" decimal ( 12 , 2 ) ", "decimal(12,2)"),
            ("array< Text >", "array<string>"),
        ] {
            assert_eq!(text.parse::<AttributeType>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn an_unknown_type_names_the_nearest() {
        for (text, near) in [
            ("strnig", "string"),
            ("bool", "boolean"),
            ("varchar", "string"),
            ("datetime", "timestamp"),
            ("array<bool>", "boolean"),
            ("timestmap", "timestamp"),
        ] {
            let error = text.parse::<AttributeType>().unwrap_err();
            assert_eq!(error.hint(), Some(format!("did you mean `{near}`?").as_str()), "{text}");
        }
        assert!("colour".parse::<AttributeType>().unwrap_err().hint().unwrap().starts_with("one of: string"));
    }

    #[test]
    fn parameters_are_checked() {
        for text in [
            "decimal",
            "decimal()",
            "decimal(0,0)",
            "decimal(39,2)",
            "decimal(5,6)",
            "decimal(5)",
            "decimal(5,2,1)",
            "array",
            "array<>",
            "array<string",
            "decimal(1,-1)",
        ] {
            assert!(text.parse::<AttributeType>().is_err(), "{text}");
        }
    }

    #[test]
    fn hostile_nesting_is_refused() {
        let text = format!("{}string{}", "array<".repeat(100_000), ">".repeat(100_000));
        assert!(text.parse::<AttributeType>().unwrap_err().to_string().contains("nested deeper"));
    }
}
