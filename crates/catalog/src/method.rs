//! Methods: what can bring data into a table, with typed inputs and outputs.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::attribute_type::AttributeType;
use crate::definition;
use crate::error::Result;
use crate::input_type::InputType;
use crate::nearest::{list, nearest};

/// How long a program may run when the catalog does not say, in seconds.
pub const DEFAULT_TIMEOUT_SECONDS: u64 = 300;

/// An entry of the catalog that a table can be filled by. It serialises to the full JSON form, which
/// [`Method::from_text`] reads back to an equal value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Method {
    /// `[a-z][a-z0-9_]*`, different for each method of a catalog.
    pub method_id: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The entities it brings; empty when it may bring any.
    pub entity_types: Vec<String>,
    /// In the order of the catalog; names differ.
    #[serde(serialize_with = "pairs")]
    pub inputs: Vec<(String, InputSpec)>,
    /// The fields of what it brings, in the order of the catalog; empty when that depends on the data.
    #[serde(serialize_with = "pairs")]
    pub outputs: Vec<(String, AttributeType)>,
    /// What runs it. A method without one is either built in or described only, and cannot run here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
}

/// What a method wants for an input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputSpec {
    /// Its type.
    #[serde(rename = "type")]
    pub data_type: InputType,
    /// The only values it may have; each is of the type.
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<Value>>,
    /// What is used when it is not given; of the type, and allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether it must be given. A required input has no default.
    pub required: bool,
    /// What it means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// An external program: the inputs go to its standard input as one JSON object, and it writes the rows to its standard
/// output as NDJSON. It is started directly, without a shell, in the working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Program {
    /// The executable and its arguments; at least the executable.
    pub command: Vec<String>,
    /// How long it may run; at least 1.
    pub timeout_seconds: u64,
}

/// What is wrong with the inputs given to a method. Says nothing of the values, which may be secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFinding {
    /// The input as it was given; `None` when a required one is missing.
    pub input: Option<String>,
    /// Whether the value is what is wrong, rather than the name.
    pub in_value: bool,
    /// The cause.
    pub message: String,
    /// The likely fix: the nearest right name, or the allowed values.
    pub help: Option<String>,
}

impl InputSpec {
    /// A required input without further conditions.
    pub fn required(data_type: InputType) -> Self {
        Self { data_type, allowed: None, default: None, required: true, description: None }
    }

    /// What is wrong with `value`: the cause and the likely fix.
    fn refusal(&self, name: &str, value: &Value) -> Option<(String, Option<String>)> {
        if !self.data_type.accepts(value) {
            let message = format!("input `{name}` must be {}, not {}", self.data_type.phrase(), kind_of(value));
            return Some((message, self.type_help(value)));
        }
        let allowed = self.allowed.as_ref().filter(|allowed| !allowed.contains(value))?;
        Some((format!("input `{name}` has a value that is not allowed"), Some(allowed_help(allowed, value))))
    }

    fn type_help(&self, value: &Value) -> Option<String> {
        if let Some(allowed) = &self.allowed {
            return Some(allowed_help(allowed, value));
        }
        match (&self.data_type, value) {
            (InputType::String | InputType::Path, Value::Number(_) | Value::Bool(_)) => Some("put it in quotes".into()),
            (InputType::Integer | InputType::Number | InputType::Boolean, Value::String(_)) => {
                Some("write it without quotes".into())
            }
            (InputType::Array(item), value) if item.accepts(value) => Some("put it in brackets, as in `[value]`".into()),
            _ => None,
        }
    }
}

impl Method {
    /// Reads one method from JSON text, in the full or the short form.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) with all mistakes; `path` is how they name the text.
    pub fn from_text(path: &str, text: &str) -> Result<Self> {
        definition::method_from_text(path, text)
    }

    /// The input of this name.
    pub fn input(&self, name: &str) -> Option<&InputSpec> {
        self.inputs.iter().find(|(known, _)| known == name).map(|(_, spec)| spec)
    }

    /// Whether it brings things of this entity.
    pub fn brings(&self, entity_type: &str) -> bool {
        self.entity_types.is_empty() || self.entity_types.iter().any(|known| known == entity_type)
    }

    /// Everything that is wrong with `given`: unknown names, wrong types, values that are not allowed, names given twice
    /// (all in the order given), then missing inputs in the order of the catalog. Empty when all is well.
    pub fn check_inputs(&self, given: &[(String, Value)]) -> Vec<InputFinding> {
        let mut findings = Vec::new();
        for (index, (name, value)) in given.iter().enumerate() {
            findings.extend(self.check_input(name, value, given.get(..index).unwrap_or_default()));
        }
        for (name, spec) in &self.inputs {
            if spec.required && !given.iter().any(|(known, _)| known == name) {
                findings.push(self.missing(name, spec));
            }
        }
        findings
    }

    fn check_input(&self, name: &str, value: &Value, before: &[(String, Value)]) -> Option<InputFinding> {
        let finding = |in_value, message, help| Some(InputFinding { input: Some(name.to_owned()), in_value, message, help });
        let Some(spec) = self.input(name) else {
            let message = format!("method `{}` has no input `{name}`", self.method_id);
            return finding(false, message, self.name_help(name));
        };
        if before.iter().any(|(known, _)| known == name) {
            return finding(false, format!("input `{name}` is given twice"), None);
        }
        let (message, help) = spec.refusal(name, value)?;
        finding(true, message, help)
    }

    fn name_help(&self, name: &str) -> Option<String> {
        let names = self.inputs.iter().map(|(known, _)| known.as_str());
        match nearest(name, names.clone()) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None => Some(list(names).map_or_else(|| "it takes no inputs".to_owned(), |names| format!("its inputs are {names}"))),
        }
    }

    fn missing(&self, name: &str, spec: &InputSpec) -> InputFinding {
        let mut help = format!("add `{name}`, {}", spec.data_type.phrase());
        if let Some(description) = &spec.description {
            help = format!("{help}: {}", description.trim_end_matches('.'));
        }
        let message = format!("method `{}` needs the input `{name}`", self.method_id);
        InputFinding { input: None, in_value: false, message, help: Some(help) }
    }

    /// The inputs as the method gets them: in the order of the catalog, those not given with their default, optional ones
    /// without default left out. The caller has checked `given` by [`Method::check_inputs`].
    pub fn with_defaults(&self, given: &[(String, Value)]) -> Map<String, Value> {
        let value = |name: &str, spec: &InputSpec| {
            let given = given.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            given.or_else(|| spec.default.clone())
        };
        self.inputs.iter().filter_map(|(name, spec)| Some((name.clone(), value(name, spec)?))).collect()
    }
}

/// What a value is, in words that do not show it.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(text) if text.trim().is_empty() => "empty text",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn allowed_help(allowed: &[Value], value: &Value) -> String {
    let shown: Vec<String> = allowed.iter().map(shown).collect();
    let names = list(shown.iter().map(String::as_str)).unwrap_or_default();
    match value.as_str().and_then(|text| nearest(text, allowed.iter().filter_map(Value::as_str))) {
        Some(near) => format!("did you mean `{near}`? allowed: {names}"),
        None => format!("allowed: {names}"),
    }
}

/// A value of the catalog as a user would write it.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn pairs<T: Serialize, S: Serializer>(pairs: &[(String, T)], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, value) in pairs {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CRAWLER: &str = r#"{
        "method_id": "crawler", "name": "Crawler", "description": "Fetches.", "entity_types": ["Post", "Profile"],
        "inputs": {
            "username": {"type": "string", "required": true, "description": "Whose posts to fetch."},
            "limit": {"type": "integer", "default": 100, "required": false},
            "order": {"type": "string", "enum": ["newest", "oldest"], "required": false},
            "tags": {"type": "array<string>", "default": [], "required": false}
        },
        "outputs": {"id": "string", "price": "decimal(12,2)"},
        "program": {"command": ["sh", "fetch.sh"], "timeout_seconds": 20}
    }"#;

    fn crawler() -> Method {
        Method::from_text("m.json", CRAWLER).unwrap()
    }

    fn check(inputs: Value) -> Vec<(Option<String>, String, String)> {
        let given: Vec<_> = inputs.as_object().unwrap().clone().into_iter().collect();
        let findings = crawler().check_inputs(&given);
        findings.into_iter().map(|finding| (finding.input, finding.message, finding.help.unwrap_or_default())).collect()
    }

    fn one(inputs: Value, message: &str, help: &str) {
        let findings = check(inputs);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].1.as_str(), findings[0].2.as_str()), (message, help));
    }

    #[test]
    fn the_full_form_reads_back_to_an_equal_value_and_the_same_json() {
        let method = crawler();
        assert_eq!(serde_json::to_value(&method).unwrap(), serde_json::from_str::<Value>(CRAWLER).unwrap());
        assert_eq!(Method::from_text("m.json", &serde_json::to_string(&method).unwrap()).unwrap(), method);
    }

    #[test]
    fn the_short_form_means_required_inputs_and_nothing_else() {
        let method =
            Method::from_text("m.json", r#"{"method_id":"crawler_twitter_profile","inputs":{"username":"string"}}"#).unwrap();
        assert_eq!(method.inputs, [("username".to_owned(), InputSpec::required(InputType::String))]);
        assert_eq!((method.name, method.program, method.entity_types, method.outputs), (None, None, vec![], vec![]));
    }

    #[test]
    fn a_method_without_entity_types_brings_any() {
        assert!(crawler().brings("Post") && !crawler().brings("Brand"));
        assert!(Method { entity_types: vec![], ..crawler() }.brings("Brand"));
    }

    #[test]
    fn right_inputs_have_no_findings() {
        assert_eq!(check(json!({"username": "a", "limit": 5, "order": "oldest", "tags": ["x"]})), []);
        assert_eq!(check(json!({"username": "a"})), []);
    }

    #[test]
    fn each_wrong_input_says_cause_and_fix() {
        one(json!({}), "method `crawler` needs the input `username`", "add `username`, text: Whose posts to fetch");
        one(json!({"username": "a", "limt": 5}), "method `crawler` has no input `limt`", "did you mean `limit`?");
        one(json!({"username": 7}), "input `username` must be text, not a number", "put it in quotes");
        one(json!({"username": "a", "limit": "5"}), "input `limit` must be a whole number, not text", "write it without quotes");
        one(json!({"username": "a", "limit": 5.5}), "input `limit` must be a whole number, not a number with a fraction", "");
        one(
            json!({"username": "a", "order": "newst"}),
            "input `order` has a value that is not allowed",
            "did you mean `newest`? allowed: `newest`, `oldest`",
        );
        one(
            json!({"username": "a", "tags": "x"}),
            "input `tags` must be a list, each item text, not text",
            "put it in brackets, as in `[value]`",
        );
        one(json!({"username": null}), "input `username` must be text, not empty", "");
    }

    #[test]
    fn all_wrong_inputs_are_found_at_once_and_no_value_is_shown() {
        let findings = check(json!({"user": "secret-1", "limit": "secret-2", "order": "secret-3"}));
        let inputs: Vec<_> = findings.iter().map(|finding| finding.0.as_deref()).collect();
        assert_eq!(inputs, [Some("user"), Some("limit"), Some("order"), None]);
        assert!(!format!("{findings:?}").contains("secret"));
    }

    #[test]
    fn an_input_given_twice_is_found() {
        let given = [("username".to_owned(), json!("a")), ("username".to_owned(), json!("b"))];
        assert_eq!(crawler().check_inputs(&given)[0].message, "input `username` is given twice");
    }

    #[test]
    fn defaults_fill_what_is_not_given_in_the_order_of_the_catalog() {
        let given = [("limit".to_owned(), json!(5)), ("username".to_owned(), json!("a"))];
        let complete = crawler().with_defaults(&given);
        assert_eq!(serde_json::to_string(&complete).unwrap(), r#"{"username":"a","limit":5,"tags":[]}"#);
        assert_eq!(crawler().with_defaults(&given[1..])["limit"], json!(100));
    }
}
