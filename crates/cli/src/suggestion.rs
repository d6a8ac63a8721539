//! Commands worth typing next, as they must be typed.

use lake::report::{RunReport, TableStatus};
use lake::table::At;
use lake::{Lake, WORKSPACE_COLUMN};

use crate::settings::Settings;

/// Three commands that show what a run made: a query, a lineage, the status.
///
/// # Errors
/// Those of storage.
pub(crate) async fn after_run(report: &RunReport, lake: &Lake, settings: &Settings) -> lake::Result<Vec<String>> {
    let Some(table) = report.tables.iter().rev().find(|t| t.status == TableStatus::Written && t.rows_written > 0) else {
        return Ok(vec![]);
    };
    let snapshot = lake.snapshot(&table.table.parse()?, At::Latest).await?;
    let fields = snapshot.map(|s| s.schema().fields().clone());
    // The last column is mostly the one that is computed, and so the one whose lineage tells something.
    let column = fields.and_then(|f| f.iter().rev().find(|f| f.name() != WORKSPACE_COLUMN).map(|f| f.name().clone()));
    let usual = report.workspaces.contains(&settings.usual_workspace);
    let workspace = report.workspaces.first().filter(|_| !usual).map(String::as_str);
    Ok(commands(&table.table, column.as_deref(), workspace, settings.lake_uri_flag.as_deref()))
}

fn commands(table: &str, column: Option<&str>, workspace: Option<&str>, lake_uri: Option<&str>) -> Vec<String> {
    let flag = |name: &str, value: Option<&str>| value.map(|v| format!(" {name} {}", quoted(v))).unwrap_or_default();
    let (workspace, lake_uri) = (flag("--workspace", workspace), flag("--lake-uri", lake_uri));
    let item = column.map_or_else(|| table.to_owned(), |column| format!("{table}.{column}"));
    vec![
        format!("lake query {}{workspace}{lake_uri}", quoted(&format!("SELECT * FROM {table} LIMIT 10"))),
        format!("lake lineage {}{lake_uri}", quoted(&item)),
        format!("lake status{lake_uri}"),
    ]
}

/// `text` as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    match text {
        "" => "''".to_owned(),
        text if text.chars().all(plain) => text.to_owned(),
        text if !text.contains(['"', '$', '`', '\\', '!']) => format!("\"{text}\""),
        text => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_typed_as_they_are() {
        assert_eq!(
            commands("gold.daily", Some("posts"), Some("acme inc"), None),
            [
                "lake query \"SELECT * FROM gold.daily LIMIT 10\" --workspace \"acme inc\"",
                "lake lineage gold.daily.posts",
                "lake status"
            ]
        );
        assert_eq!(
            commands("gold.daily", None, None, Some("s3://b/p"))[1..],
            ["lake lineage gold.daily --lake-uri s3://b/p", "lake status --lake-uri s3://b/p"]
        );
    }

    #[test]
    fn a_name_cannot_break_out_of_its_quotes() {
        assert_eq!(quoted("it's"), "\"it's\"");
        assert_eq!(quoted("$(rm -r x)"), "'$(rm -r x)'");
        assert_eq!(quoted("it's `x`"), r"'it'\''s `x`'");
        assert_eq!(quoted(""), "''");
    }
}
