//! What is wrong with a pipeline or a catalog's file: the place, the line, the cause, the likely fix.

use std::io;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use lake::diagnostic::{Diagnostic, Severity, Span};
use serde::Serialize;

use crate::printer::{Printer, Surface};
use crate::quantity::counted;
use crate::style::Tone;

/// Lines are not cut below this width, in characters.
const LEAST_WIDTH: usize = 60;

/// A finding as `--output json` prints it.
#[derive(Debug, Serialize)]
struct FindingJson<'a> {
    severity: &'static str,
    code: &'a str,
    message: &'a str,
    file: &'a str,
    line: usize,
    column: usize,
    help: Option<&'a str>,
}

/// Reports all findings: as text to stderr, or as a JSON list to stdout.
///
/// # Errors
/// Those of stdout.
pub(crate) fn report(findings: &[Diagnostic], printer: &Printer) -> io::Result<()> {
    if !printer.is_human() {
        return printer.json(&json(findings));
    }
    if !findings.is_empty() {
        printer.error(&text(findings, printer.err));
    }
    Ok(())
}

/// All findings by position, then how many there are.
pub(crate) fn text(findings: &[Diagnostic], surface: Surface) -> String {
    let mut text = String::new();
    for finding in sorted(findings) {
        text += &one(finding, surface);
        text += "\n\n";
    }
    text += &surface.palette.paint(Tone::Strong, &tally(findings));
    text
}

fn json(findings: &[Diagnostic]) -> Vec<FindingJson<'_>> {
    sorted(findings).into_iter().map(FindingJson::new).collect()
}

impl<'a> FindingJson<'a> {
    fn new(finding: &'a Diagnostic) -> Self {
        let (line, column) = finding.position();
        Self {
            severity: severity_name(finding.severity),
            code: finding.code,
            message: &finding.message,
            file: &finding.source.path,
            line,
            column,
            help: finding.help.as_deref(),
        }
    }
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn sorted(findings: &[Diagnostic]) -> Vec<&Diagnostic> {
    let mut findings: Vec<&Diagnostic> = findings.iter().collect();
    findings.sort_by(|a, b| {
        (&a.source.path, a.span.start, b.severity, a.span.end).cmp(&(&b.source.path, b.span.start, a.severity, b.span.end))
    });
    findings
}

/// `3 errors, 1 warning`.
fn tally(findings: &[Diagnostic]) -> String {
    let of = |severity| findings.iter().filter(|f| f.severity == severity).count() as u64;
    let parts = [(of(Severity::Error), "error", "errors"), (of(Severity::Warning), "warning", "warnings")];
    let parts: Vec<String> = parts.iter().filter(|(n, ..)| *n > 0).map(|(n, one, many)| counted(*n, one, many)).collect();
    parts.join(", ")
}

fn one(finding: &Diagnostic, surface: Surface) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let message = annotate_snippets::normalize_untrusted_str(&finding.message);
    let label = finding.label.as_deref().map(annotate_snippets::normalize_untrusted_str);
    let help = finding.help.as_deref().map(annotate_snippets::normalize_untrusted_str);
    let span = first_line(&finding.source.text, finding.span);
    let mut annotation = AnnotationKind::Primary.span(span.range());
    if let Some(label) = label {
        annotation = annotation.label(label);
    }
    let snippet = Snippet::source(&finding.source.text).path(&finding.source.path).annotation(annotation);
    let mut group = level.primary_title(message).id(finding.code).element(snippet);
    if let Some(help) = help {
        group = group.element(Level::HELP.message(help));
    }
    let renderer = if surface.palette.is_enabled() { Renderer::styled() } else { Renderer::plain() };
    let renderer = match surface.width {
        Some(width) => renderer.term_width(width.max(LEAST_WIDTH)),
        None => renderer,
    };
    renderer.render(&[group])
}

/// The part of `span` on its first line, cut to characters that `text` has. A caret below one line points better than a bracket
/// around a whole mapping.
fn first_line(text: &str, span: Span) -> Span {
    let start = floor(text, span.start);
    let end = floor(text, span.end.max(start));
    let line = text.get(start..end).unwrap_or_default();
    let length = line.find('\n').unwrap_or(line.len());
    let shown = line.get(..length).unwrap_or_default().trim_end();
    Span::new(start, start + shown.len())
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lake::diagnostic::Source;

    use super::*;
    use crate::arguments::OutputForm;

    const TEXT: &str = "name: brand_monitoring\nsilver:\n  posts:\n    frm: bronze.posts\n    select:\n      größe: CAST(lenght(body) AS BIGINT)\n    key: [id]\n";

    fn span_of(part: &str) -> Span {
        let start = TEXT.find(part).unwrap();
        Span::new(start, start + part.len())
    }

    fn findings() -> Vec<Diagnostic> {
        let source = Arc::new(Source { path: "pipelines/brands.yaml".into(), text: TEXT.into() });
        vec![
            Diagnostic::warning("unused-table", &source, span_of("posts:"), "nothing reads `silver.posts`"),
            Diagnostic::error("unknown-function", &source, span_of("lenght"), "there is no function `lenght`")
                .with_label("no such function")
                .with_help("did you mean `length`?"),
            Diagnostic::error("unknown-key", &source, span_of("frm"), "unknown key `frm` in `silver.posts`")
                .with_help("did you mean `from`?"),
        ]
    }

    #[test]
    fn findings_are_shown_by_position_with_the_line_and_the_fix() {
        insta::assert_snapshot!(text(&findings(), Surface::default()), @r#"
        warning[unused-table]: nothing reads `silver.posts`
         --> pipelines/brands.yaml:3:3
          |
        3 |   posts:
          |   ^^^^^^

        error[unknown-key]: unknown key `frm` in `silver.posts`
         --> pipelines/brands.yaml:4:5
          |
        4 |     frm: bronze.posts
          |     ^^^
          |
          = help: did you mean `from`?

        error[unknown-function]: there is no function `lenght`
         --> pipelines/brands.yaml:6:19
          |
        6 |       größe: CAST(lenght(body) AS BIGINT)
          |                   ^^^^^^ no such function
          |
          = help: did you mean `length`?

        2 errors, 1 warning
        "#);
    }

    #[test]
    fn a_span_over_many_lines_points_at_the_first() {
        let source = Arc::new(Source { path: "p.yaml".into(), text: TEXT.into() });
        let span = Span::new(TEXT.find("posts:").unwrap(), TEXT.len());
        let finding = Diagnostic::error("no-key", &source, span, "`silver.posts` has no key");
        insta::assert_snapshot!(text(&[finding], Surface::default()), @r#"
        error[no-key]: `silver.posts` has no key
         --> p.yaml:3:3
          |
        3 |   posts:
          |   ^^^^^^

        1 error
        "#);
    }

    #[test]
    fn places_that_the_text_does_not_have_do_no_harm() {
        let source = Arc::new(Source { path: "p.yaml".into(), text: "größe".into() });
        for span in [Span::new(0, 900), Span::new(900, 901), Span::new(3, 4), Span::new(4, 1), Span::new(7, 7)] {
            assert!(text(&[Diagnostic::error("x", &source, span, "m")], Surface::default()).contains("error[x]: m"));
        }
        let empty = Arc::new(Source { path: "p.yaml".into(), text: String::new() });
        assert!(
            text(&[Diagnostic::error("empty", &empty, Span::new(0, 0), "the file is empty")], Surface::default())
                .contains("p.yaml:1:1")
        );
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = format!("sql: {} lenght(x) {}", "a ".repeat(200), "b ".repeat(200));
        let start = line.find("lenght").unwrap();
        let source = Arc::new(Source { path: "p.yaml".into(), text: line });
        let finding = Diagnostic::error("x", &source, Span::new(start, start + 6), "no function");
        let surface = Surface { width: Some(80), ..Surface::default() };
        let shown = text(&[finding], surface);
        assert!(shown.contains("lenght") && shown.lines().all(|l| l.chars().count() <= 90), "{shown}");
    }

    #[test]
    fn the_tally_leaves_out_what_there_is_none_of() {
        assert_eq!(tally(&findings()), "2 errors, 1 warning");
        assert_eq!(tally(&findings()[..1]), "1 warning");
    }

    #[test]
    fn json_lists_every_finding_on_stdout() {
        let (printer, captured) = Printer::captured(OutputForm::Json, Surface::default());
        report(&findings(), &printer).unwrap();
        let list: serde_json::Value = serde_json::from_str(&captured.stdout()).unwrap();
        assert_eq!(list.as_array().unwrap().len(), 3);
        insta::assert_snapshot!(list[2].to_string(), @r#"{"severity":"error","code":"unknown-function","message":"there is no function `lenght`","file":"pipelines/brands.yaml","line":6,"column":19,"help":"did you mean `length`?"}"#);
        assert_eq!(captured.stderr(), "");
    }
}
