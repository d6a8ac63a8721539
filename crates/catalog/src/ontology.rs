//! Ontologies: the entities a catalog knows, their attributes, types and keys, and how they relate.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::attribute_type::AttributeType;
use crate::error::{Error, ErrorKind, Result};
use crate::nearest::advice;

/// One version of the ontology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ontology {
    /// Such as `1.0`.
    pub version: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// In the order of the catalog; names differ.
    #[serde(serialize_with = "entities_by_name")]
    pub entities: Vec<Entity>,
    /// In the order of the catalog; both ends of each are entities of this ontology.
    pub relations: Vec<Relation>,
}

/// A kind of thing, and the columns of a table of such things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entity {
    /// Such as `Post`.
    #[serde(skip)]
    pub name: String,
    /// What one of them is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// At least one, in the order of the catalog; names differ.
    #[serde(serialize_with = "attributes_by_name")]
    pub attributes: Vec<Attribute>,
    /// The attributes that tell two of them apart; empty when the catalog names none.
    pub key: Vec<String>,
}

/// A property of an entity, and a column of its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// `[a-z][a-z0-9_]*`.
    #[serde(skip)]
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub data_type: AttributeType,
    /// Whether it is never null.
    pub required: bool,
    /// What it means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// That things of one entity stand in a relation to things of another, or of the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Relation {
    /// Such as `WROTE`.
    #[serde(rename = "type")]
    pub relation_type: String,
    /// The entity it starts at.
    pub from: String,
    /// The entity it points to.
    pub to: String,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Ontology {
    /// The entity of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; the hint names the nearest entity.
    pub fn entity(&self, name: &str) -> Result<&Entity> {
        self.entities.iter().find(|entity| entity.name == name).ok_or_else(|| {
            let error = Error::new(ErrorKind::NotFound, format!("ontology `{}` has no entity `{name}`", self.version));
            match advice(name, self.entities.iter().map(|entity| entity.name.as_str())) {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        })
    }
}

impl Entity {
    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}

fn entities_by_name<S: Serializer>(entities: &[Entity], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(entities.len()))?;
    for entity in entities {
        map.serialize_entry(&entity.name, entity)?;
    }
    map.end()
}

fn attributes_by_name<S: Serializer>(attributes: &[Attribute], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(attributes.len()))?;
    for attribute in attributes {
        map.serialize_entry(&attribute.name, attribute)?;
    }
    map.end()
}

/// An ontology's version: numbers joined by dots, compared number by number. `1.10` is greater than `1.9`; `1` equals `1.0`.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    numbers: Vec<u64>,
}

impl Version {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Version {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Invalid`] when it is not numbers joined by dots.
    fn from_str(text: &str) -> Result<Self> {
        let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u64>().ok()).flatten();
        match text.split('.').map(number).collect::<Option<Vec<u64>>>() {
            Some(mut numbers) => {
                let significant = numbers.iter().rposition(|number| *number != 0).map_or(0, |last| last + 1);
                numbers.truncate(significant);
                Ok(Self { text: text.to_owned(), numbers })
            }
            None => Err(Error::new(ErrorKind::Invalid, format!("`{text}` is not a version"))
                .with_hint("write numbers joined by dots, such as `1.0`")),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.numbers == other.numbers
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_compare_number_by_number() {
        assert!(version("1.10") > version("1.9") && version("2") > version("1.99.99") && version("1.0.1") > version("1"));
        assert_eq!(version("1"), version("1.0.0"));
        assert_eq!(version("1.0").to_string(), "1.0");
    }

    #[test]
    fn other_texts_are_not_versions() {
        for text in ["", ".", "1.", "v1", "1.0-beta", "-1", "+1", "1..2", "99999999999999999999999", " 1"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_unknown_entity_names_the_nearest() {
        let entity = Entity { name: "Profile".into(), description: None, attributes: vec![], key: vec![] };
        let ontology = Ontology { version: "1.0".into(), description: None, entities: vec![entity], relations: vec![] };
        let error = ontology.entity("Profiel").unwrap_err();
        assert_eq!(error.to_string(), "ontology `1.0` has no entity `Profiel`");
        assert_eq!((error.kind(), error.hint()), (ErrorKind::NotFound, Some("did you mean `Profile`?")));
    }
}
