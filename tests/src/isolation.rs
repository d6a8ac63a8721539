//! SQL that tries to read another workspace's rows or the files below, or to write; the files are in `tests/isolation`.
//!
//! The asker is [`ASKER`]. The lake holds `silver.posts` (post_id, author, brand, body, likes, posted_at), `bronze.posts`
//! and `gold.daily_mentions`, with rows of the asker and of [`VICTIM`]. Every text in a row of the victim contains
//! [`VICTIM_MARK`], and one of its posts has [`VICTIM_LIKES`] likes, which no post of the asker has.
//!
//! No mark shows up in a leaked count or bound. So the strongest check is that of non-interference: a statement has the
//! same outcome, rows and error alike, on a lake in which the victim was never there.

use std::fs;
use std::path::Path;

/// The workspace whose session runs the statements.
pub const ASKER: &str = "acme";

/// The workspace that the statements are after.
pub const VICTIM: &str = "globex";

/// What every text in a row of the victim contains, and no fixture does: output that has it is a leak.
pub const VICTIM_MARK: &str = "globex-secret";

/// The likes of one post of the victim. Some fixtures fail only if that row is evaluated.
pub const VICTIM_LIKES: i64 = 424_242;

/// What stands in a statement for the path of the lake's root.
const LAKE: &str = "{LAKE}";

/// What has to become of a statement. Nothing is ever written, whatever is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// It is an error, and nothing was read.
    Refused,
    /// It succeeds, with rows of the asker only.
    OwnRowsOnly,
    /// It is an error or succeeds with rows of the asker only; engines differ in whether they know the syntax.
    Either,
}

/// A statement, and what has to become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolationCase {
    /// The name of its file, without the ending.
    pub name: String,
    /// What the statement tries.
    pub trick: String,
    /// What has to become of it.
    pub expect: Expectation,
    /// The statement, comments and all; the path of the lake is left open.
    pub sql: String,
}

impl IsolationCase {
    /// The statement against the lake at `root`, a path or a URL.
    pub fn sql_at(&self, root: &str) -> String {
        self.sql.replace(LAKE, root)
    }
}

/// All cases, by name.
///
/// # Panics
/// If a file cannot be read or has no valid header: a case that is skipped would look like one that holds.
#[expect(clippy::panic, reason = "test support, where a wrong fixture has to fail the test")]
pub fn fixtures() -> Vec<IsolationCase> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("isolation");
    read(&folder).unwrap_or_else(|problem| panic!("isolation fixtures: {problem}"))
}

fn read(folder: &Path) -> Result<Vec<IsolationCase>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
    let mut cases = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let text = fs::read_to_string(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        cases.push(parse(&name, &text)?);
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(cases)
}

/// Reads the two header lines of a fixture; the rest of it is the statement.
fn parse(name: &str, text: &str) -> Result<IsolationCase, String> {
    let (trick, rest) = header(name, text, "trick")?;
    let (expect, sql) = header(name, rest, "expect")?;
    let expect = match expect {
        "refused" => Expectation::Refused,
        "own rows only" => Expectation::OwnRowsOnly,
        "either" => Expectation::Either,
        other => return Err(format!("`{name}` expects `{other}`, which is none of refused, own rows only, either")),
    };
    if trick.is_empty() || sql.trim().is_empty() {
        return Err(format!("`{name}` has an empty trick or no statement"));
    }
    Ok(IsolationCase { name: name.to_owned(), trick: trick.to_owned(), expect, sql: sql.trim_end().to_owned() })
}

fn header<'t>(name: &str, text: &'t str, key: &str) -> Result<(&'t str, &'t str), String> {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    let value = line.strip_prefix("-- ").and_then(|line| line.strip_prefix(key)).and_then(|line| line.strip_prefix(':'));
    value.map(|value| (value.trim(), rest)).ok_or_else(|| format!("`{name}` lacks the line `-- {key}: ...`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_and_the_statement_below_it_are_read() {
        let case = parse("spy", "-- trick: climbs\n-- expect: own rows only\nSELECT 1 -- not a header\nFROM t\n").unwrap();
        assert_eq!(case.trick, "climbs");
        assert_eq!(case.expect, Expectation::OwnRowsOnly);
        assert_eq!(case.sql, "SELECT 1 -- not a header\nFROM t");
    }

    #[test]
    fn a_fixture_without_a_valid_header_is_an_error() {
        let wrong = [
            ("SELECT 1", "lacks the line `-- trick: ...`"),
            ("-- trick: a\nSELECT 1", "lacks the line `-- expect: ...`"),
            ("-- trick: a\n-- expect: maybe\nSELECT 1", "expects `maybe`"),
            ("-- trick:\n-- expect: refused\nSELECT 1", "empty trick"),
            ("-- trick: a\n-- expect: refused\n\n", "no statement"),
        ];
        for (text, problem) in wrong {
            let error = parse("spy", text).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn the_fixtures_cover_every_expectation() {
        let cases = fixtures();
        assert!(cases.len() >= 35, "only {} fixtures", cases.len());
        for expect in [Expectation::Refused, Expectation::OwnRowsOnly, Expectation::Either] {
            assert!(cases.iter().filter(|case| case.expect == expect).count() >= 10, "too few that expect {expect:?}");
        }
    }

    /// Otherwise a statement that only echoes its own text would look like a leak.
    #[test]
    fn no_fixture_holds_the_mark_of_the_victim() {
        let marked: Vec<_> = fixtures().into_iter().filter(|case| case.sql.contains(VICTIM_MARK)).collect();
        assert_eq!(marked, []);
    }

    #[test]
    fn the_path_of_the_lake_is_filled_in() {
        let sql = |case: &IsolationCase| case.sql_at("/srv/lake");
        let cases: Vec<_> = fixtures().into_iter().filter(|case| case.sql.contains(LAKE)).collect();
        assert!(!cases.is_empty());
        assert!(cases.iter().all(|case| sql(case).contains("/srv/lake") && !sql(case).contains(LAKE)));
    }
}
