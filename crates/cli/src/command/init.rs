//! `lake init`: a small pipeline with data that runs as it is.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use lake::{Error, ErrorKind};
use serde_json::json;

use crate::arguments::InitArguments;
use crate::exit::{ExitStatus, Failure};
use crate::printer::Printer;
use crate::style::Tone;
use crate::suggestion::quoted;

/// What is written: path below the folder, and content.
const FILES: [(&str, &str); 4] = [
    ("pipeline.yaml", include_str!("../../templates/pipeline.yaml")),
    ("data/orders/2026-01.csv", include_str!("../../templates/data/orders/2026-01.csv")),
    ("data/orders/2026-02.csv", include_str!("../../templates/data/orders/2026-02.csv")),
    (".env.example", include_str!("../../templates/env.example")),
];

/// Writes the files; none when one of them is there already.
pub(crate) fn run(arguments: &InitArguments, printer: &Printer) -> Result<ExitStatus, Failure> {
    let folder = &arguments.folder;
    if let Some((taken, _)) = FILES.iter().find(|(path, _)| folder.join(path).exists()) {
        let message = format!("`{}` is there already; nothing was written", folder.join(taken).display());
        return Err(Error::new(ErrorKind::Config, message).with_hint("name a new folder, such as `lake init shop`").into());
    }
    for (path, content) in FILES {
        write(&folder.join(path), content)?;
    }
    if !printer.is_human() {
        let files: Vec<String> = FILES.iter().map(|(path, _)| folder.join(path).display().to_string()).collect();
        return ExitStatus::Done.once_written(printer.json(&json!({ "files": files })));
    }
    for (path, _) in FILES {
        printer.say(&format!("wrote {}", folder.join(path).display()));
    }
    let next = printer.err.palette.paint(Tone::Strong, "next:");
    printer.say(&format!("\n{next}\n  {}", commands(folder).join("\n  ")));
    Ok(ExitStatus::Done)
}

fn write(path: &Path, content: &str) -> lake::Result<()> {
    let failed = |e: std::io::Error| Error::new(ErrorKind::Storage, format!("cannot write `{}`", path.display())).with_source(e);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // A file that appeared since it was looked for is left alone.
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(content.as_bytes()).map_err(failed)
}

fn commands(folder: &Path) -> Vec<String> {
    let go = (folder != Path::new(".")).then(|| format!("cd {}", quoted(&folder.display().to_string())));
    go.into_iter().chain(["lake validate pipeline.yaml".to_owned(), "lake run pipeline.yaml".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::arguments::OutputForm;
    use crate::printer::Surface;

    fn init(folder: PathBuf) -> (Result<ExitStatus, Failure>, String) {
        let (printer, captured) = Printer::captured(OutputForm::Human, Surface::default());
        let ended = run(&InitArguments { folder }, &printer);
        assert_eq!(captured.stdout(), "");
        (ended, captured.stderr())
    }

    #[test]
    fn a_new_folder_gets_the_pipeline_and_its_data() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("my shop");
        let (ended, said) = init(folder.clone());
        assert_eq!(ended.unwrap(), ExitStatus::Done);
        for (path, content) in FILES {
            assert_eq!(fs::read_to_string(folder.join(path)).unwrap(), content);
        }
        assert!(said.contains("cd \"") && said.trim_end().ends_with("lake run pipeline.yaml"), "{said}");
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".env.example"), "mine").unwrap();
        let (ended, said) = init(folder.path().to_owned());
        let Err(Failure::Error(error)) = ended else { panic!() };
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(".env.example` is there already"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(folder.path().join(".env.example")).unwrap(), "mine");
        assert_eq!(said, "");
    }

    #[test]
    fn the_pipeline_that_is_written_is_one() {
        let pipeline = lake::pipeline::Pipeline::parse("pipeline.yaml", FILES[0].1.to_owned(), &|_| None).unwrap();
        assert_eq!((pipeline.bronze.len(), pipeline.silver.len(), pipeline.gold.len()), (1, 1, 1));
    }
}
