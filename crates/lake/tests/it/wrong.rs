//! Wrong pipelines, and what a person is told about them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use lake::diagnostic::Diagnostic;

use crate::support::check;

fn told(found: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in found {
        let place = diagnostic.source.text.get(diagnostic.span.range());
        writeln!(text, "{diagnostic}").unwrap();
        writeln!(text, "  at:   {:?}", place.expect("a span lies on characters of the text")).unwrap();
        if let Some(help) = &diagnostic.help {
            writeln!(text, "  help: {help}").unwrap();
        }
    }
    text
}

#[test]
fn every_wrong_pipeline_is_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/wrong");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 25);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("wrong");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for name in names {
            let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
            let found = check(&format!("{name}.yaml"), &text).expect_err(&name);
            insta::assert_snapshot!(name.clone(), told(&found));
        }
    });
}

#[test]
fn findings_are_in_the_order_of_the_file() {
    let text = include_str!("wrong/many_errors.yaml");
    let found = check("p.yaml", text).unwrap_err();
    assert!(found.len() > 4);
    assert!(found.windows(2).all(|pair| pair[0].span.start <= pair[1].span.start));
}
