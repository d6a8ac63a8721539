//! The types of the pipeline language: how they are written, what Delta can store, and which fit into which.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Fields, TimeUnit};

/// The type names without parameters, as written in a pipeline.
const SIMPLE: [(&str, DataType); 7] = [
    ("string", DataType::Utf8),
    ("integer", DataType::Int32),
    ("long", DataType::Int64),
    ("float", DataType::Float32),
    ("double", DataType::Float64),
    ("boolean", DataType::Boolean),
    ("date", DataType::Date32),
];

/// How deep `array<...>` and `struct<...>` may nest.
const MAX_DEPTH: usize = 32;

/// Every word a type may start with, for the nearest name.
pub(super) const TYPE_WORDS: [&str; 11] =
    ["string", "integer", "long", "float", "double", "boolean", "date", "timestamp", "decimal", "array", "struct"];

/// A text that is no type: where in it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypeError {
    /// Bytes of the text.
    pub(super) at: std::ops::Range<usize>,
    /// The cause.
    pub(super) message: String,
    /// The likely fix.
    pub(super) help: Option<String>,
}

/// The instant type of every `timestamp`: microseconds in UTC, which all readers of Delta share.
fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Reads `string`, `decimal(10, 2)`, `array<long>`, `struct<name: string>` and so on.
pub(super) fn parse(text: &str) -> Result<DataType, TypeError> {
    let mut parser = TypeParser { text, at: 0 };
    let data_type = parser.data_type(0)?;
    parser.skip_blanks();
    if parser.at < text.len() {
        return Err(parser.error("the type goes on after its end"));
    }
    Ok(data_type)
}

struct TypeParser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> TypeParser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn error(&self, message: &str) -> TypeError {
        let width = self.rest().chars().next().map_or(0, char::len_utf8);
        TypeError { at: self.at..self.at + width, message: message.to_owned(), help: None }
    }

    fn word(&mut self) -> (&'t str, std::ops::Range<usize>) {
        self.skip_blanks();
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let range = self.at..self.at + length;
        self.at = range.end;
        (rest.get(..length).unwrap_or_default(), range)
    }

    fn take(&mut self, expected: char) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(expected);
        self.at += if found { expected.len_utf8() } else { 0 };
        found
    }

    fn expect(&mut self, expected: char, what: &str) -> Result<(), TypeError> {
        if self.take(expected) { Ok(()) } else { Err(self.error(&format!("{what} needs a `{expected}` here"))) }
    }

    fn data_type(&mut self, depth: usize) -> Result<DataType, TypeError> {
        if depth > MAX_DEPTH {
            return Err(self.error("the type is nested too deeply"));
        }
        let (word, at) = self.word();
        let lower = word.to_lowercase();
        if let Some((_, data_type)) = SIMPLE.iter().find(|(name, _)| *name == lower) {
            return Ok(data_type.clone());
        }
        match lower.as_str() {
            "timestamp" => Ok(timestamp()),
            "decimal" => self.decimal(),
            "array" => {
                self.expect('<', "`array<type>`")?;
                let item = self.data_type(depth + 1)?;
                self.expect('>', "`array<type>`")?;
                Ok(DataType::List(Arc::new(Field::new_list_field(item, true))))
            }
            "struct" => self.fields(depth),
            _ => Err(unknown(word, at)),
        }
    }

    fn number(&mut self) -> Result<u8, TypeError> {
        let (word, at) = self.word();
        word.parse().map_err(|_| TypeError {
            at,
            message: "`decimal` needs two numbers".to_owned(),
            help: Some("such as `decimal(18, 2)`: 18 digits, 2 of them after the point".to_owned()),
        })
    }

    fn decimal(&mut self) -> Result<DataType, TypeError> {
        let start = self.at;
        self.expect('(', "`decimal(precision, scale)`")?;
        let precision = self.number()?;
        self.expect(',', "`decimal(precision, scale)`")?;
        let scale = self.number()?;
        self.expect(')', "`decimal(precision, scale)`")?;
        let scale_fits = i8::try_from(scale).ok().filter(|_| scale <= precision);
        match scale_fits {
            Some(scale) if (1..=DECIMAL128_MAX_PRECISION).contains(&precision) => Ok(DataType::Decimal128(precision, scale)),
            _ => Err(TypeError {
                at: start..self.at,
                message: format!(
                    "a decimal has 1 to {DECIMAL128_MAX_PRECISION} digits, and not more after the point than in all"
                ),
                help: Some("such as `decimal(18, 2)`".to_owned()),
            }),
        }
    }

    fn fields(&mut self, depth: usize) -> Result<DataType, TypeError> {
        self.expect('<', "`struct<name: type>`")?;
        let mut fields: Vec<Field> = Vec::new();
        loop {
            let (name, at) = self.word();
            if name.is_empty() {
                return Err(self.error("`struct<name: type>` needs a field's name here"));
            }
            if fields.iter().any(|f| f.name().eq_ignore_ascii_case(name)) {
                return Err(TypeError { at, message: format!("the field `{name}` is given twice"), help: None });
            }
            self.expect(':', "`struct<name: type>`")?;
            fields.push(Field::new(name, self.data_type(depth + 1)?, true));
            if !self.take(',') {
                break;
            }
        }
        self.expect('>', "`struct<name: type>`")?;
        Ok(DataType::Struct(Fields::from(fields)))
    }
}

/// Names of other systems and what they are called here.
const FOREIGN: [(&str, &str); 16] = [
    ("text", "string"),
    ("varchar", "string"),
    ("str", "string"),
    ("utf8", "string"),
    ("int", "integer"),
    ("int32", "integer"),
    ("int64", "long"),
    ("bigint", "long"),
    ("float32", "float"),
    ("real", "float"),
    ("float64", "double"),
    ("number", "double"),
    ("bool", "boolean"),
    ("datetime", "timestamp"),
    ("list", "array"),
    ("object", "struct"),
];

fn unknown(word: &str, at: std::ops::Range<usize>) -> TypeError {
    if word.is_empty() {
        return TypeError { at, message: "a type is missing".to_owned(), help: Some(known_types()) };
    }
    let lower = word.to_lowercase();
    let foreign = FOREIGN.iter().find(|(name, _)| *name == lower).map(|(_, here)| *here);
    let help = match foreign.or_else(|| crate::diagnostic::nearest(word, TYPE_WORDS)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => known_types(),
    };
    TypeError { at, message: format!("`{word}` is not a type"), help: Some(help) }
}

fn known_types() -> String {
    "the types are string, integer, long, float, double, boolean, date, timestamp, decimal(p, s), array<type> and struct<name: type>"
        .to_owned()
}

/// The type as a pipeline writes it, or as Arrow does where the language has no word.
pub(super) fn display(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Null => "null".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => format!("decimal({p}, {s})"),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("array<{}>", display(item.data_type()))
        }
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|f| format!("{}: {}", f.name(), display(f.data_type()))).collect();
            format!("struct<{}>", fields.join(", "))
        }
        other => match SIMPLE.iter().find(|(_, t)| t == other) {
            Some((name, _)) => (*name).to_owned(),
            None => other.to_string(),
        },
    }
}

/// Whether values of the type hold other values.
pub(super) fn is_nested(data_type: &DataType) -> bool {
    data_type.is_nested()
}

/// Whether a value of type `from` may be cast to `to`, value by value: text of a number to a number, but not an object to a text
/// or a single value to a list, which Arrow would do.
pub(super) fn fits(from: &DataType, to: &DataType) -> bool {
    use DataType::{List, Null, Struct};
    match (from, to) {
        (Null, _) => true,
        (List(from), List(to)) => fits(from.data_type(), to.data_type()),
        (Struct(from), Struct(to)) => {
            from.len() == to.len()
                && to.iter().all(|t| from.find(t.name()).is_some_and(|(_, f)| fits(f.data_type(), t.data_type())))
        }
        (from, to) if from.is_nested() != to.is_nested() => false,
        (from, to) => can_cast_types(from, to),
    }
}

/// The type that a Delta table stores for values of `data_type`, or why there is none.
pub(super) fn storable(data_type: &DataType) -> Result<DataType, String> {
    use DataType as T;
    let nested = |field: &Field| storable(field.data_type()).map(|t| Arc::new(field.clone().with_data_type(t)));
    Ok(match data_type {
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Date32 => data_type.clone(),
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 | T::UInt64 => T::Int64,
        T::Float16 => T::Float32,
        T::Date64 => T::Date32,
        T::Timestamp(..) => timestamp(),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) => decimal(*p, *s)?,
        T::Decimal256(p, s) => decimal((*p).min(DECIMAL128_MAX_PRECISION), *s)?,
        T::Dictionary(_, value) => storable(value)?,
        T::RunEndEncoded(_, value) => storable(value.data_type())?,
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) | T::FixedSizeList(item, _) => {
            T::List(nested(item)?)
        }
        T::Struct(fields) => T::Struct(fields.iter().map(|f| nested(f)).collect::<Result<Fields, String>>()?),
        T::Map(entries, sorted) => T::Map(nested(entries)?, *sorted),
        T::Null => return Err("is always null, which is no type a table can store".to_owned()),
        other => return Err(format!("is of type {other}, which a Delta table cannot store")),
    })
}

fn decimal(precision: u8, scale: i8) -> Result<DataType, String> {
    match u8::try_from(scale) {
        Ok(digits) if digits <= precision => Ok(DataType::Decimal128(precision, scale)),
        _ => Err(format!("is of type decimal({precision}, {scale}), which a Delta table cannot store")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_language_is_read_and_written_alike() {
        for text in [
            "string",
            "integer",
            "long",
            "float",
            "double",
            "boolean",
            "date",
            "timestamp",
            "decimal(18, 2)",
            "array<string>",
            "struct<name: string, tags: array<struct<id: long>>>",
        ] {
            assert_eq!(display(&parse(text).unwrap()), text);
        }
        assert_eq!(parse(" Decimal( 38 ,38 ) ").unwrap(), DataType::Decimal128(38, 38));
        assert_eq!(parse("timestamp").unwrap(), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    }

    #[test]
    fn a_wrong_type_is_pointed_at_within_its_text() {
        let wrong = |text: &str| parse(text).map_err(|e| (text[e.at].to_owned(), e.help.unwrap_or_default())).unwrap_err();
        assert_eq!(wrong("struct<a: strin>"), ("strin".to_owned(), "did you mean `string`?".to_owned()));
        assert_eq!(wrong("array<int>"), ("int".to_owned(), "did you mean `integer`?".to_owned()));
        assert_eq!(wrong("array<string").0, "");
        assert_eq!(wrong("string string").0, "s");
        assert_eq!(wrong("decimal(39, 2)").0, "(39, 2)");
        assert_eq!(wrong("decimal(5, 200)").0, "(5, 200)");
        assert_eq!(wrong("decimal(5.0, 2)").0, ".");
        assert_eq!(wrong("struct<a: long, A: long>").0, "A");
        assert_eq!(wrong("größe").0, "größe");
        assert!(parse(&"array<".repeat(100_000)).is_err());
    }

    #[test]
    fn text_fits_every_plain_type_and_nothing_nested() {
        for to in ["integer", "double", "boolean", "date", "timestamp", "decimal(5, 2)", "string"] {
            assert!(fits(&DataType::Utf8, &parse(to).unwrap()), "{to}");
        }
        for to in ["array<string>", "struct<a: string>"] {
            assert!(!fits(&DataType::Utf8, &parse(to).unwrap()), "{to}");
            assert!(!fits(&parse(to).unwrap(), &DataType::Utf8), "{to}");
        }
    }

    #[test]
    fn structs_fit_by_the_names_of_their_fields() {
        let fit = |from: &str, to: &str| fits(&parse(from).unwrap(), &parse(to).unwrap());
        assert!(fit("struct<a: string, b: string>", "struct<b: long, a: date>"));
        assert!(!fit("struct<a: string>", "struct<b: string>"));
        assert!(!fit("array<struct<a: string>>", "array<string>"));
    }

    #[test]
    fn what_delta_cannot_store_is_told_apart() {
        assert_eq!(storable(&DataType::Timestamp(TimeUnit::Nanosecond, None)), Ok(timestamp()));
        assert_eq!(storable(&DataType::UInt64), Ok(DataType::Int64));
        assert_eq!(storable(&DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8View))), Ok(DataType::Utf8));
        assert!(storable(&DataType::Null).is_err());
        assert!(storable(&DataType::Duration(TimeUnit::Second)).is_err());
        let nested = DataType::List(Arc::new(Field::new_list_field(DataType::Null, true)));
        assert!(storable(&nested).is_err());
    }
}
