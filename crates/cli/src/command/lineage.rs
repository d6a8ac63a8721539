//! `lake lineage`: where a table or column comes from, or goes to, as a tree.

use super::Session;
use crate::arguments::LineageArguments;
use crate::backend::{self, Direction, IndirectKind, LineageItem, LineageLink, LineageTree, SourceKind};
use crate::exit::{ExitStatus, Failure};
use crate::grid::clipped;
use crate::printer::Surface;
use crate::style::Tone;

/// Prints the tree.
pub(crate) async fn run(arguments: &LineageArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    let lake = session.settings.lake()?;
    let catalog = backend::catalog(&session.settings, &lake)?;
    let direction = if arguments.downstream { Direction::Downstream } else { Direction::Upstream };
    let depth = arguments.depth.map_or(usize::MAX, usize::from);
    let item = LineageItem::from(arguments.item.as_str());
    let tree = backend::lineage(catalog.as_ref(), item, direction, depth).await?;
    if !printer.is_human() {
        return ExitStatus::Done.once_written(printer.json(&tree));
    }
    if tree.children.is_empty() {
        let what = if arguments.downstream { "nothing is made from" } else { "nothing is recorded above" };
        printer.say(&format!("{what} `{}`", tree.item));
    }
    ExitStatus::Done.once_written(printer.result(&text(&tree, printer.out)))
}

/// The tree as lines, each cut to the terminal.
fn text(tree: &LineageTree, surface: Surface) -> String {
    let mut lines = vec![surface.palette.paint(Tone::Strong, &tree.item.to_string())];
    children(tree, "", surface, &mut lines);
    lines.join("\n")
}

fn children(tree: &LineageTree, indent: &str, surface: Surface, lines: &mut Vec<String>) {
    // What decides on the rows of a table decides on each of its columns, so below the second column it is not told again.
    let (folded, told): (Vec<_>, Vec<_>) = tree.children.iter().partition(|child| child.repeated && is_indirect(child));
    let folded = if folded.len() > 1 { folded } else { vec![] };
    let told = if folded.is_empty() { tree.children.iter().collect() } else { told };
    let number = told.len() + usize::from(!folded.is_empty());
    for (position, child) in told.into_iter().enumerate() {
        let (branch, below) = if position + 1 == number { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(line(child, &format!("{indent}{branch}"), surface));
        children(child, &format!("{indent}{below}"), surface, lines);
    }
    if !folded.is_empty() {
        let text = format!("{} indirect, shown elsewhere", folded.len());
        let room = surface.width.map(|width| width.saturating_sub(indent.chars().count() + 3));
        lines.push(format!("{indent}└─ {}", surface.palette.paint(Tone::Faint, &clipped(&text, room))));
    }
}

fn is_indirect(tree: &LineageTree) -> bool {
    matches!(tree.link, Some(LineageLink::Indirect { .. }))
}

fn line(tree: &LineageTree, branch: &str, surface: Surface) -> String {
    let item = format!("{branch}{}", tree.item);
    let mut about = tree.link.as_ref().map(kind).unwrap_or_default();
    if tree.repeated {
        about += "  (shown elsewhere)";
    }
    if tree.cut_off {
        about += "  (goes on)";
    }
    if about.trim().is_empty() {
        return clipped(&item, surface.width);
    }
    let room = surface.width.map(|width| width.saturating_sub(item.chars().count() + 2));
    match room {
        Some(room) if room < 4 => clipped(&item, surface.width),
        room => format!("{item}  {}", surface.palette.paint(Tone::Faint, &clipped(about.trim_start(), room))),
    }
}

/// How an item is joined to the one above it, in words.
fn kind(link: &LineageLink) -> String {
    match link {
        LineageLink::Direct { subtype, expression } => {
            let word = match subtype {
                SourceKind::Identity => "identity",
                SourceKind::Transformation => "transformation",
                SourceKind::Aggregation => "aggregation",
            };
            let told = expression.as_ref().filter(|_| *subtype != SourceKind::Identity);
            told.map_or_else(|| word.to_owned(), |expression| format!("{word}: {expression}"))
        }
        LineageLink::Indirect { subtype } => {
            let word = match subtype {
                IndirectKind::Filter => "filter",
                IndirectKind::Join => "join",
                IndirectKind::GroupBy => "group by",
                IndirectKind::Sort => "sort",
                IndirectKind::Window => "window",
                IndirectKind::Conditional => "condition",
                IndirectKind::Subquery => "subquery",
            };
            format!("indirect: {word}")
        }
        LineageLink::Dataset => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, link: Option<LineageLink>, children: Vec<LineageTree>) -> LineageTree {
        LineageTree { item: LineageItem::from(name), link, repeated: false, cut_off: false, children }
    }

    fn direct(subtype: SourceKind, expression: Option<&str>) -> Option<LineageLink> {
        Some(LineageLink::Direct { subtype, expression: expression.map(String::from) })
    }

    fn tree() -> LineageTree {
        let file = item("file:data/posts/*.ndjson", direct(SourceKind::Identity, None), vec![]);
        let likes = item("bronze.posts.likes", direct(SourceKind::Transformation, Some("CAST(likes AS BIGINT)")), vec![file]);
        let grouped = Some(LineageLink::Indirect { subtype: IndirectKind::GroupBy });
        let brand = LineageTree { cut_off: true, ..item("silver.posts.brand", grouped.clone(), vec![]) };
        let repeated = |name| LineageTree { repeated: true, ..item(name, grouped.clone(), vec![]) };
        let sum = item("silver.posts.likes", direct(SourceKind::Aggregation, Some("sum(likes)")), vec![likes]);
        let day = item("silver.posts.posted_at", grouped.clone(), vec![repeated("bronze.posts.op"), repeated("bronze.posts.id")]);
        item("gold.daily_mentions.likes", None, vec![sum, brand, repeated("silver.posts.lang"), day])
    }

    #[test]
    fn a_tree_shows_how_each_item_is_joined_to_the_one_above() {
        insta::assert_snapshot!(text(&tree(), Surface::default()), @r#"
        gold.daily_mentions.likes
        ├─ silver.posts.likes  aggregation: sum(likes)
        │  └─ bronze.posts.likes  transformation: CAST(likes AS BIGINT)
        │     └─ file:data/posts/*.ndjson  identity
        ├─ silver.posts.brand  indirect: group by  (goes on)
        ├─ silver.posts.lang  indirect: group by  (shown elsewhere)
        └─ silver.posts.posted_at  indirect: group by
           └─ 2 indirect, shown elsewhere
        "#);
    }

    #[test]
    fn lines_are_cut_to_the_terminal() {
        let text = text(&tree(), Surface { width: Some(40), ..Surface::default() });
        assert!(text.lines().all(|l| l.chars().count() <= 40), "{text}");
        assert!(text.contains("CAST(…") || text.contains("transf"), "{text}");
    }
}
