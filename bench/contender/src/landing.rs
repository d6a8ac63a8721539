//! The folder that files land in, which the pipeline reads: a run is asked the same each time, and finds what is new.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of the lake at `out`, beside it.
pub(crate) fn folder(out: &Path) -> PathBuf {
    beside(out, "landing")
}

/// Lets the files of `phase`, a folder below `raw`, land. Those of another `raw`, and those of before a `first` delivery, are taken away.
pub(crate) fn deliver(raw: &Path, phase: &str, out: &Path, first: bool) -> io::Result<()> {
    let (landing, origin) = (folder(out), beside(out, "landed"));
    let known = fs::read(&origin).is_ok_and(|of| of == raw.as_os_str().as_encoded_bytes());
    if landing.exists() && (first || !known) {
        fs::remove_dir_all(&landing)?;
    }
    fs::create_dir_all(&landing)?;
    fs::write(origin, raw.as_os_str().as_encoded_bytes())?;
    for entry in fs::read_dir(raw.join(phase))? {
        let entry = entry?;
        let target = landing.join(entry.file_name());
        // A link is there at once, whatever the size; over file systems there is none.
        fs::hard_link(entry.path(), &target).or_else(|_| fs::copy(entry.path(), &target).map(drop))?;
    }
    Ok(())
}

fn beside(out: &Path, what: &str) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(format!(".{what}"));
    PathBuf::from(name)
}
