//! Reads ontologies.

use std::ops::Range;

use super::fields::{Fields, Findings, NameKind};
use super::json_text::{Json, Member, Node};
use super::method::read_type;
use crate::nearest::advice;
use crate::ontology::{Attribute, Entity, Ontology, Relation, Version};

/// All versions, sorted.
pub(super) fn read_versions(findings: &mut Findings, node: &Node) -> Vec<Ontology> {
    let mut versions: Vec<(Version, Ontology)> = Vec::new();
    for member in findings.members(node, "`ontologies`").unwrap_or_default() {
        let ontology = read_ontology(findings, member);
        match member.name.parse::<Version>() {
            Err(error) => findings.add_error(&member.name_span, &error),
            Ok(version) => {
                if let Some((same, _)) = versions.iter().find(|(known, _)| *known == version) {
                    findings.add(&member.name_span, format!("version `{version}` is the same as `{same}`"));
                }
                versions.extend(ontology.map(|ontology| (version, ontology)));
            }
        }
    }
    versions.sort_by(|(a, _), (b, _)| a.cmp(b));
    versions.into_iter().map(|(_, ontology)| ontology).collect()
}

fn read_ontology(findings: &mut Findings, member: &Member) -> Option<Ontology> {
    let what = format!("ontology `{}`", member.name);
    let fields = findings.fields(&member.node, &what, &["description", "entities", "relations"])?;
    let description = findings.optional_text(&fields, "description", &what);
    let entities_node = findings.required(&fields, &member.name_span, "entities", &what)?;
    let members = findings.members(entities_node, &format!("`entities` of {what}")).unwrap_or_default();
    let entities: Vec<Entity> = members.iter().filter_map(|member| read_entity(findings, member)).collect();
    // A relation may name an entity whose definition is wrong: one mistake, one finding.
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let relations = fields.get("relations").map(|node| read_relations(findings, node, &names, &what)).unwrap_or_default();
    Some(Ontology { version: member.name.clone(), description, entities, relations })
}

fn read_entity(findings: &mut Findings, member: &Member) -> Option<Entity> {
    let what = format!("entity `{}`", member.name);
    findings.name(&member.name_span, &member.name, "an entity", NameKind::Any);
    let fields = findings.fields(&member.node, &what, &["description", "attributes", "key"])?;
    let description = findings.optional_text(&fields, "description", &what);
    let attributes_node = findings.required(&fields, &member.name_span, "attributes", &what)?;
    let members = findings.members(attributes_node, &format!("`attributes` of {what}")).unwrap_or_default();
    if matches!(&attributes_node.value, Json::Object(members) if members.is_empty()) {
        findings.add(&attributes_node.span, format!("{what} has no attributes"));
    }
    let attributes = members.iter().filter_map(|member| read_attribute(findings, member)).collect();
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let key = read_key(findings, &fields, &names, &what);
    Some(Entity { name: member.name.clone(), description, attributes, key })
}

fn read_key(findings: &mut Findings, fields: &Fields<'_>, attributes: &[&str], what: &str) -> Vec<String> {
    let Some(node) = fields.get("key") else { return Vec::new() };
    let mut key = Vec::new();
    for (name, span) in findings.texts(node, &format!("`key` of {what}")) {
        if !attributes.contains(&name.as_str()) {
            let message = format!("key `{name}` is not an attribute of {what}");
            findings.add_with_help(&span, message, advice(&name, attributes.iter().copied()));
        }
        key.push(name);
    }
    key
}

fn read_attribute(findings: &mut Findings, member: &Member) -> Option<Attribute> {
    let name = member.name.clone();
    findings.name(&member.name_span, &name, "an attribute", NameKind::Lower);
    if matches!(member.node.value, Json::String(_)) {
        let data_type = read_type(findings, &member.node, &name)?;
        return Some(Attribute { name, data_type, required: false, description: None });
    }
    let what = format!("attribute `{name}`");
    let fields = findings.fields(&member.node, &what, &["type", "required", "description"])?;
    let description = findings.optional_text(&fields, "description", &what);
    let required = fields.get("required").and_then(|node| findings.boolean(node, &format!("`required` of {what}")));
    let type_node = findings.required(&fields, &member.name_span, "type", &what)?;
    let data_type = read_type(findings, type_node, &name)?;
    Some(Attribute { name, data_type, required: required.unwrap_or(false), description })
}

fn read_relations(findings: &mut Findings, node: &Node, entities: &[&str], of: &str) -> Vec<Relation> {
    let mut relations: Vec<Relation> = Vec::new();
    for item in findings.items(node, &format!("`relations` of {of}")).unwrap_or_default() {
        let Some((relation, span)) = read_relation(findings, item, entities) else { continue };
        let same = |known: &Relation| {
            (&known.relation_type, &known.from, &known.to) == (&relation.relation_type, &relation.from, &relation.to)
        };
        if relations.iter().any(same) {
            let Relation { relation_type, from, to, .. } = &relation;
            findings.add(&span, format!("relation `{relation_type}` from `{from}` to `{to}` is defined twice"));
        } else {
            relations.push(relation);
        }
    }
    relations
}

/// The relation and where its type stands.
fn read_relation(findings: &mut Findings, node: &Node, entities: &[&str]) -> Option<(Relation, Range<usize>)> {
    let what = "the relation";
    let start = node.span.start;
    let at = start..start + 1;
    let fields = findings.fields(node, what, &["type", "from", "to", "description"])?;
    let description = findings.optional_text(&fields, "description", what);
    let from = read_end(findings, &fields, &at, "from", entities);
    let to = read_end(findings, &fields, &at, "to", entities);
    let type_node = findings.required(&fields, &at, "type", what)?;
    let relation_type = findings.text(type_node, "`type` of the relation")?;
    findings.name(&type_node.span, &relation_type, "a relation", NameKind::Any);
    Some((Relation { relation_type, from: from?, to: to?, description }, type_node.span.clone()))
}

fn read_end(findings: &mut Findings, fields: &Fields<'_>, at: &Range<usize>, name: &str, entities: &[&str]) -> Option<String> {
    let node = findings.required(fields, at, name, "the relation")?;
    let entity = findings.text(node, &format!("`{name}` of the relation"))?;
    if !entities.contains(&entity.as_str()) {
        let message = format!("`{name}` names the unknown entity `{entity}`");
        findings.add_with_help(&node.span, message, advice(&entity, entities.iter().copied()));
    }
    Some(entity)
}
