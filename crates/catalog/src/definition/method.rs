//! Reads a method.

use std::ops::Range;

use serde_json::Value;

use super::fields::{Fields, Findings, NameKind};
use super::json_text::{Json, Member, Node};
use crate::attribute_type::AttributeType;
use crate::input_type::InputType;
use crate::method::{DEFAULT_TIMEOUT_SECONDS, InputSpec, Method, Program};

const FIELDS: [&str; 7] = ["method_id", "name", "description", "entity_types", "inputs", "outputs", "program"];
const INPUT_FIELDS: [&str; 5] = ["type", "enum", "default", "required", "description"];

/// A method and the places that later checks speak of.
#[derive(Debug)]
pub(super) struct ReadMethod {
    pub(super) method: Method,
    pub(super) id_span: Range<usize>,
    pub(super) entity_types: Vec<(String, Range<usize>)>,
}

/// `None` only when it has no usable id.
pub(super) fn read(findings: &mut Findings, node: &Node) -> Option<ReadMethod> {
    let of = label(node);
    let fields = findings.fields(node, &of, &FIELDS)?;
    let id = read_id(findings, &fields, node);
    let entity_types =
        fields.get("entity_types").map(|node| findings.texts(node, &format!("`entity_types` of {of}"))).unwrap_or_default();
    let name = findings.optional_text(&fields, "name", &of);
    let description = findings.optional_text(&fields, "description", &of);
    let inputs = fields.get("inputs").map(|node| read_inputs(findings, node, &of)).unwrap_or_default();
    let outputs = fields.get("outputs").map(|node| read_outputs(findings, node, &of)).unwrap_or_default();
    let program = fields.get("program").and_then(|node| read_program(findings, node, &of));
    let (method_id, id_span) = id?;
    let names = entity_types.iter().map(|(name, _)| name.clone()).collect();
    let method = Method { method_id, name, description, entity_types: names, inputs, outputs, program };
    Some(ReadMethod { method, id_span, entity_types })
}

/// What messages call the method, before anything of it has been checked.
fn label(node: &Node) -> String {
    let Json::Object(members) = &node.value else { return "the method".to_owned() };
    match members.iter().find(|member| member.name == "method_id").map(|member| &member.node.value) {
        Some(Json::String(id)) => format!("method `{id}`"),
        _ => "the method".to_owned(),
    }
}

fn read_id(findings: &mut Findings, fields: &Fields<'_>, node: &Node) -> Option<(String, Range<usize>)> {
    let start = node.span.start;
    let id = findings.required(fields, &(start..start + 1), "method_id", "the method")?;
    let text = findings.text(id, "`method_id`")?;
    findings.name(&id.span, &text, "a method", NameKind::Lower);
    Some((text, id.span.clone()))
}

fn read_inputs(findings: &mut Findings, node: &Node, of: &str) -> Vec<(String, InputSpec)> {
    let mut inputs = Vec::new();
    for member in findings.members(node, &format!("`inputs` of {of}")).unwrap_or_default() {
        findings.name(&member.name_span, &member.name, "an input", NameKind::Any);
        if let Some(spec) = read_input(findings, member) {
            inputs.push((member.name.clone(), spec));
        }
    }
    inputs
}

fn read_input(findings: &mut Findings, member: &Member) -> Option<InputSpec> {
    if matches!(member.node.value, Json::String(_)) {
        return read_type::<InputType>(findings, &member.node, &member.name).map(InputSpec::required);
    }
    let what = format!("input `{}`", member.name);
    let fields = findings.fields(&member.node, &what, &INPUT_FIELDS)?;
    let description = findings.optional_text(&fields, "description", &what);
    let flag = fields.get("required").and_then(|node| findings.boolean(node, &format!("`required` of {what}")));
    let type_node = findings.required(&fields, &member.name_span, "type", &what)?;
    let data_type = read_type::<InputType>(findings, type_node, &member.name)?;
    let allowed = fields.get("enum").map(|node| read_allowed(findings, node, &data_type, &what));
    let default = fields.get("default").map(Node::to_value);
    if let (Some(node), Some(value)) = (fields.get("default"), &default) {
        check_default(findings, node, value, &data_type, allowed.as_deref(), &what);
    }
    let required = flag.unwrap_or(default.is_none());
    if let (true, Some(node)) = (required, fields.get("default")) {
        let help = Some("remove `default`, or write `\"required\": false`");
        findings.add_with_help(&node.span, format!("{what} is required, so its default would never be used"), help);
    }
    Some(InputSpec { data_type, allowed, default, required, description })
}

fn read_allowed(findings: &mut Findings, node: &Node, data_type: &InputType, what: &str) -> Vec<Value> {
    let mut allowed: Vec<Value> = Vec::new();
    let Some(items) = findings.items(node, &format!("`enum` of {what}")) else { return allowed };
    if items.is_empty() {
        findings.add(&node.span, format!("`enum` of {what} is empty, so it could have no value"));
    }
    for item in items {
        let value = item.to_value();
        if !data_type.accepts(&value) {
            findings.add(&item.span, format!("a value in `enum` of {what} must be {}", data_type.phrase()));
        } else if allowed.contains(&value) {
            findings.add(&item.span, format!("a value is twice in `enum` of {what}"));
        } else {
            allowed.push(value);
        }
    }
    allowed
}

fn check_default(
    findings: &mut Findings,
    node: &Node,
    value: &Value,
    data_type: &InputType,
    allowed: Option<&[Value]>,
    what: &str,
) {
    if !data_type.accepts(value) {
        findings.add(&node.span, format!("the default of {what} must be {}", data_type.phrase()));
    } else if allowed.is_some_and(|allowed| !allowed.contains(value)) {
        findings.add(&node.span, format!("the default of {what} is not in its `enum`"));
    }
}

fn read_outputs(findings: &mut Findings, node: &Node, of: &str) -> Vec<(String, AttributeType)> {
    let mut outputs = Vec::new();
    for member in findings.members(node, &format!("`outputs` of {of}")).unwrap_or_default() {
        findings.name(&member.name_span, &member.name, "an output", NameKind::Any);
        if let Some(data_type) = read_type::<AttributeType>(findings, &member.node, &member.name) {
            outputs.push((member.name.clone(), data_type));
        }
    }
    outputs
}

/// Reads a type by its `FromStr`; `name` is what has the type.
pub(super) fn read_type<T>(findings: &mut Findings, node: &Node, name: &str) -> Option<T>
where
    T: std::str::FromStr<Err = crate::error::Error>,
{
    let text = findings.text(node, &format!("the type of `{name}`"))?;
    text.parse().map_err(|error| findings.add_error(&node.span, &error)).ok()
}

fn read_program(findings: &mut Findings, node: &Node, of: &str) -> Option<Program> {
    let what = format!("`program` of {of}");
    let fields = findings.fields(node, &what, &["command", "timeout_seconds"])?;
    let timeout = fields.get("timeout_seconds").and_then(|node| findings.positive(node, "`timeout_seconds`"));
    let start = node.span.start;
    let command_node = findings.required(&fields, &(start..start + 1), "command", &what)?;
    let command = read_command(findings, command_node)?;
    Some(Program { command, timeout_seconds: timeout.unwrap_or(DEFAULT_TIMEOUT_SECONDS) })
}

fn read_command(findings: &mut Findings, node: &Node) -> Option<Vec<String>> {
    if matches!(node.value, Json::String(_)) {
        let help = Some("write the executable and each argument as an item, such as `[\"sh\", \"fetch.sh\"]`; no shell is used");
        findings.add_with_help(&node.span, "`command` must be a list", help);
        return None;
    }
    let items = findings.items(node, "`command`")?;
    if items.is_empty() {
        findings.add(&node.span, "`command` is empty");
    }
    let mut command = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match &item.value {
            // An argument may be empty; the executable may not.
            Json::String(text) if index > 0 || !text.trim().is_empty() => command.push(text.clone()),
            Json::String(_) => findings.add(&item.span, "the executable in `command` is empty"),
            _ => findings.add(&item.span, "an item of `command` must be text"),
        }
    }
    Some(command)
}
