//! `lake ontology`: the entities and relations of the catalog.

use super::Session;
use crate::arguments::OntologyArguments;
use crate::backend::{self, Attribute, Entity, Ontology};
use crate::exit::{ExitStatus, Failure};
use crate::grid::{Cell, Column, grid, wrapped};
use crate::printer::Surface;
use crate::style::Tone;

/// Shows the ontology.
pub(crate) async fn run(arguments: &OntologyArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    let lake = session.settings.lake()?;
    let catalog = backend::catalog(&session.settings, &lake)?;
    let ontology = backend::ontology(catalog.as_ref(), arguments.ontology_version.as_deref()).await?;
    let shown = if printer.is_human() { printer.result(&text(&ontology, printer.out)) } else { printer.json(&ontology) };
    ExitStatus::Done.once_written(shown)
}

fn text(ontology: &Ontology, surface: Surface) -> String {
    let palette = surface.palette;
    let mut parts = vec![palette.paint(Tone::Strong, &format!("ontology {}", ontology.version))];
    if let (Some(description), Some(title)) = (&ontology.description, parts.first_mut()) {
        *title += &format!("\n{}", wrapped(description, surface.width).join("\n"));
    }
    parts.extend(ontology.entities.iter().map(|e| entity(e, surface)));
    if !ontology.relations.is_empty() {
        let relation = |r: &backend::Relation| format!("  {} -[{}]-> {}", r.from, r.relation_type, r.to);
        let relations: Vec<String> = ontology.relations.iter().map(relation).collect();
        parts.push(format!("{}\n{}", palette.paint(Tone::Strong, "relations"), relations.join("\n")));
    }
    parts.iter().map(|p| p.trim_end()).collect::<Vec<_>>().join("\n\n")
}

fn entity(entity: &Entity, surface: Surface) -> String {
    let mut title = surface.palette.paint(Tone::Strong, &entity.name);
    if let Some(description) = &entity.description {
        title += &format!("\n{}", wrapped(description, surface.width).join("\n"));
    }
    let columns =
        vec![Column::text("attribute"), Column::text("type"), Column::text("role"), Column::text("description").wrapping()];
    let rows: Vec<Vec<Cell>> = entity.attributes.iter().map(|a| attribute(a, &entity.key)).collect();
    format!("{title}\n{}", grid(columns, &rows, surface.width, surface.palette))
}

fn attribute(attribute: &Attribute, key: &[String]) -> Vec<Cell> {
    let role = match (key.contains(&attribute.name), attribute.required) {
        (true, _) => "key",
        (false, true) => "required",
        (false, false) => "",
    };
    let about = attribute.description.as_deref().unwrap_or_default();
    vec![Cell::from(&attribute.name), Cell::from(attribute.data_type.to_string()), Cell::from(role), Cell::from(about)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Relation;

    fn attribute(name: &str, kind: &str, required: bool) -> Attribute {
        Attribute { name: name.into(), data_type: kind.parse().unwrap(), required, description: Some(format!("The {name}.")) }
    }

    #[test]
    fn entities_and_relations_are_shown() {
        let attributes =
            vec![attribute("post_id", "string", true), attribute("author", "string", true), attribute("likes", "long", false)];
        let post = Entity { name: "Post".into(), description: Some("A post.".into()), attributes, key: vec!["post_id".into()] };
        let wrote = Relation { relation_type: "WROTE".into(), from: "Person".into(), to: "Post".into(), description: None };
        let ontology = Ontology { version: "1.0".into(), description: None, entities: vec![post], relations: vec![wrote] };
        insta::assert_snapshot!(text(&ontology, Surface::default()), @r#"
        ontology 1.0

        Post
        A post.
        attribute  type    role      description
        ─────────  ──────  ────────  ────────────
        post_id    string  key       The post_id.
        author     string  required  The author.
        likes      long              The likes.

        relations
          Person -[WROTE]-> Post
        "#);
    }
}
