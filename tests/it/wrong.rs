//! What a person sees who made a mistake, for each wrong pipeline and catalog.

use std::path::Path;

use lake_tests::binary::{Bench, checkout};

/// What `validate` says of every file in `folder`, with the exit code; secrets of this machine's paths are not among it.
fn said_of_each(folder: &str, kind: &str, validate: impl Fn(&str) -> (i32, String)) -> usize {
    let mut files: Vec<_> = std::fs::read_dir(checkout().join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml" || e == "json"));
    files.sort();
    for file in &files {
        let relative = file.strip_prefix(checkout()).unwrap().to_string_lossy().into_owned();
        let (code, said) = validate(&relative);
        assert_eq!(code, 2, "{relative}: {said}");
        // A mistake of the catalog can also show where the pipeline relies on it.
        let place = [relative.as_str(), "pipelines/quickstart.yaml:"].iter().any(|p| said.contains(p));
        assert!(place, "{relative}: the file is not named: {said}");
        let name = Path::new(&relative).file_stem().unwrap().to_string_lossy().into_owned();
        insta::with_settings!({ snapshot_suffix => name, omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(kind, said);
        });
    }
    files.len()
}

#[test]
fn every_wrong_pipeline_is_told_where_why_and_what_to_do() {
    let bench = Bench::new();
    let count = said_of_each("tests/wrong/pipelines", "pipeline", |file| {
        let done = bench.run(["validate", file]);
        assert_eq!(done.stdout(), "", "{file}");
        (done.code(), done.stderr())
    });
    assert!(count >= 20, "{count} wrong pipelines");
    assert!(!bench.lake().exists(), "validating moved data");
}

#[test]
fn every_wrong_catalog_is_told_where_why_and_what_to_do() {
    let bench = Bench::new();
    let count = said_of_each("tests/wrong/catalogs", "catalog", |file| {
        let done = bench.run(["validate", "pipelines/quickstart.yaml", "--catalog", file]);
        (done.code(), done.stderr())
    });
    assert!(count >= 8, "{count} wrong catalogs");
}
