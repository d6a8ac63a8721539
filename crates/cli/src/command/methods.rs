//! `lake methods`: what can fill a bronze table, and with which inputs.

use serde_json::Value;

use super::Session;
use crate::arguments::MethodsArguments;
use crate::backend::{self, InputSpec, Method};
use crate::exit::{ExitStatus, Failure};
use crate::grid::{Cell, Column, grid, wrapped};
use crate::printer::Surface;
use crate::style::Tone;

/// Lists the methods, or shows one.
pub(crate) async fn run(arguments: &MethodsArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    let lake = session.settings.lake()?;
    let catalog = backend::catalog(&session.settings, &lake)?;
    if let Some(id) = &arguments.id {
        let method = backend::method(catalog.as_ref(), id).await?;
        let shown = if printer.is_human() { printer.result(&details(&method, printer.out)) } else { printer.json(&method) };
        return ExitStatus::Done.once_written(shown);
    }
    let methods = backend::methods(catalog.as_ref(), arguments.entity_type.as_deref()).await?;
    let shown = if printer.is_human() { printer.result(&list(&methods, printer.out)) } else { printer.json(&methods) };
    let status = ExitStatus::Done.once_written(shown);
    if printer.is_human() {
        printer.hint("`lake methods <id>` shows the inputs of one");
    }
    status
}

fn list(methods: &[Method], surface: Surface) -> String {
    let columns = vec![Column::text("method"), Column::text("brings").wrapping(), Column::text("description").wrapping()];
    let rows: Vec<Vec<Cell>> = methods
        .iter()
        .map(|method| {
            let about = method.description.as_deref().or(method.name.as_deref()).unwrap_or_default();
            vec![Cell::from(&method.method_id), Cell::from(brings(method)), Cell::from(about)]
        })
        .collect();
    grid(columns, &rows, surface.width, surface.palette)
}

fn brings(method: &Method) -> String {
    if method.entity_types.is_empty() { "anything".to_owned() } else { method.entity_types.join(", ") }
}

fn details(method: &Method, surface: Surface) -> String {
    let palette = surface.palette;
    let mut text = palette.paint(Tone::Strong, &method.method_id);
    if let Some(description) = method.description.as_ref().or(method.name.as_ref()) {
        text += &format!("\n{}", wrapped(description, surface.width).join("\n"));
    }
    text += &format!("\nbrings {}", brings(method));
    if let Some(program) = &method.program {
        text += &format!("\nruns `{}`, at most {} s", program.command.join(" "), program.timeout_seconds);
    }
    if !method.inputs.is_empty() {
        let columns =
            vec![Column::text("input"), Column::text("type"), Column::text("default"), Column::text("description").wrapping()];
        let rows: Vec<Vec<Cell>> = method.inputs.iter().map(|(name, spec)| input(name, spec)).collect();
        text += &format!("\n\n{}", grid(columns, &rows, surface.width, palette));
    }
    if !method.outputs.is_empty() {
        let columns = vec![Column::text("output"), Column::text("type")];
        let rows: Vec<Vec<Cell>> =
            method.outputs.iter().map(|(name, kind)| vec![Cell::from(name), Cell::from(kind.to_string())]).collect();
        text += &format!("\n{}", grid(columns, &rows, surface.width, palette));
    }
    text
}

fn input(name: &str, spec: &InputSpec) -> Vec<Cell> {
    let default = match (&spec.default, spec.required) {
        (Some(value), _) => Cell::from(value.to_string()),
        (None, true) => Cell::new("required", Tone::Strong),
        (None, false) => Cell::new("-", Tone::Faint),
    };
    let mut about = spec.description.clone().unwrap_or_default();
    if let Some(allowed) = &spec.allowed {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        about = format!("{about} One of: {}", allowed.join(", ")).trim_start().to_owned();
    }
    vec![Cell::from(name), Cell::from(spec.data_type.to_string()), default, Cell::from(about)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: &str = r#"{
        "method_id": "crawler_twitter_profile", "description": "Fetches public profiles.", "entity_types": ["Profile"],
        "inputs": { "username": { "type": "string", "required": true, "description": "The profile's name." },
                    "mode": { "type": "string", "enum": ["live", "replay"], "default": "replay", "required": false } },
        "outputs": { "username": "string", "followers": "long" },
        "program": { "command": ["python3", "crawl.py"], "timeout_seconds": 30 }
    }"#;

    fn method() -> Method {
        Method::from_text("catalog.json", METHOD).unwrap()
    }

    #[test]
    fn a_method_is_shown_with_its_inputs_and_outputs() {
        insta::assert_snapshot!(details(&method(), Surface::default()), @r#"
        crawler_twitter_profile
        Fetches public profiles.
        brings Profile
        runs `python3 crawl.py`, at most 30 s

        input     type    default   description
        ────────  ──────  ────────  ────────────────────────
        username  string  required  The profile's name.
        mode      string  "replay"  One of: "live", "replay"

        output     type
        ─────────  ──────
        username   string
        followers  long
        "#);
    }

    #[test]
    fn the_list_fits_a_narrow_terminal() {
        let text = list(&[method()], Surface { width: Some(50), ..Surface::default() });
        insta::assert_snapshot!(text, @r#"
        method                   brings   description
        ───────────────────────  ───────  ────────────────
        crawler_twitter_profile  Profile  Fetches public
                                          profiles.
        "#);
    }
}
