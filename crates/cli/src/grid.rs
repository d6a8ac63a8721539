//! Aligned tables of text that fit the terminal, and that tell what they had to leave out.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::style::{Palette, Tone};

/// Between two columns.
const GAP: &str = "  ";

/// What stands for the text that was cut off.
const ELLIPSIS: char = '…';

/// No column is made narrower than this, in characters.
const LEAST_WIDTH: usize = 8;

/// On which side the space is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    #[default]
    Left,
    /// Numbers.
    Right,
}

/// A column: its title, and what may be done to it when the terminal is narrow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column {
    title: String,
    align: Align,
    shrinks: bool,
    /// Whether a cell that is too long goes on below, where the table is small enough for that.
    wraps: bool,
    /// Columns with the greatest number are left out first.
    dispensable: Option<u8>,
}

impl Column {
    /// A column of text.
    pub(crate) fn text(title: impl Into<String>) -> Self {
        Self { title: single_line(&title.into()), ..Self::default() }
    }

    /// A column of numbers.
    pub(crate) fn number(title: impl Into<String>) -> Self {
        Self { align: Align::Right, ..Self::text(title) }
    }

    /// Its cells may be cut.
    pub(crate) fn shrinking(mut self) -> Self {
        self.shrinks = true;
        self
    }

    /// Its cells may be spread over several lines.
    pub(crate) fn wrapping(mut self) -> Self {
        self.wraps = true;
        self.shrinking()
    }

    /// It may be left out, after those with a greater `rank`.
    pub(crate) fn dispensable(mut self, rank: u8) -> Self {
        self.dispensable = Some(rank);
        self
    }
}

/// A cell of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Text with a colour. Control characters are shown as escapes, so that data cannot steer the terminal.
    pub(crate) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: single_line(text.as_ref()), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Which columns are shown, and how wide each is.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    columns: Vec<Column>,
    /// Index into `columns` and width, from left to right.
    shown: Vec<(usize, usize)>,
    palette: Palette,
    /// Whether cells that turn out wider are cut.
    cuts: bool,
}

impl Layout {
    /// The layout in which `rows` fit into `width` characters as well as they can; `None` for a width without limit.
    pub(crate) fn fit(columns: Vec<Column>, rows: &[Vec<Cell>], width: Option<usize>, palette: Palette) -> Self {
        let mut shown: Vec<(usize, usize)> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let cells = rows.iter().filter_map(|r| r.get(index)).map(|c| c.text.width());
                (index, cells.chain([column.title.width()]).max().unwrap_or_default())
            })
            .collect();
        if let Some(width) = width {
            leave_out(&columns, &mut shown, width);
            shrink(&columns, &mut shown, width);
            while shown.len() > 1 && total(&shown) > width && columns.iter().any(|c| c.shrinks) {
                shown.pop();
            }
        }
        Self { columns, shown, palette, cuts: width.is_some() }
    }

    /// Whether the column at `index` is shown.
    pub(crate) fn shows(&self, index: usize) -> bool {
        self.shown.iter().any(|(shown, _)| *shown == index)
    }

    /// How many columns are left out.
    pub(crate) fn hidden(&self) -> usize {
        self.columns.len() - self.shown.len()
    }

    /// The titles and a line below them.
    pub(crate) fn header(&self) -> String {
        let titles: Vec<Cell> = self.columns.iter().map(|c| Cell::new(&c.title, Tone::Strong)).collect();
        let rule: Vec<String> = self.shown.iter().map(|(_, width)| "─".repeat(*width)).collect();
        format!("{}\n{}\n", self.line(&titles).0, self.palette.paint(Tone::Faint, &rule.join(GAP)))
    }

    /// One line for one row, and how many of its cells were cut.
    pub(crate) fn row(&self, cells: &[Cell]) -> (String, usize) {
        let (line, cut) = self.line(cells);
        (line + "\n", cut)
    }

    /// The row as several rows, in which the text of wrapping columns goes on below.
    fn wrapped(&self, cells: &[Cell]) -> Vec<Vec<Cell>> {
        let mut lines = vec![cells.to_vec()];
        for (index, width) in &self.shown {
            let (Some(column), Some(cell)) = (self.columns.get(*index), cells.get(*index)) else { continue };
            if !column.wraps || !self.cuts {
                continue;
            }
            for (number, part) in wrapped(&cell.text, Some(*width)).into_iter().enumerate() {
                if number == lines.len() {
                    lines.push(vec![Cell::default(); cells.len()]);
                }
                if let Some(below) = lines.get_mut(number).and_then(|line| line.get_mut(*index)) {
                    *below = Cell { text: part, tone: cell.tone };
                }
            }
        }
        lines
    }

    fn line(&self, cells: &[Cell]) -> (String, usize) {
        let mut line = String::new();
        let mut cut = 0;
        for (position, (index, width)) in self.shown.iter().enumerate() {
            let Some(column) = self.columns.get(*index) else { continue };
            let empty = Cell::default();
            let cell = cells.get(*index).unwrap_or(&empty);
            let text = if self.cuts { shortened(&cell.text, *width) } else { None };
            cut += usize::from(text.is_some());
            let text = text.unwrap_or_else(|| cell.text.clone());
            let space = " ".repeat(width.saturating_sub(text.width()));
            let painted = self.palette.paint(cell.tone, &text);
            let last = position + 1 == self.shown.len();
            match column.align {
                Align::Right => line += &format!("{space}{painted}"),
                Align::Left if last => line += &painted,
                Align::Left => line += &format!("{painted}{space}"),
            }
            if !last {
                line += GAP;
            }
        }
        (line.trim_end().to_owned(), cut)
    }
}

/// A whole table as text, for tables that are small.
pub(crate) fn grid(columns: Vec<Column>, rows: &[Vec<Cell>], width: Option<usize>, palette: Palette) -> String {
    let layout = Layout::fit(columns, rows, width, palette);
    let mut text = layout.header();
    for row in rows {
        text.extend(layout.wrapped(row).iter().map(|line| layout.row(line).0));
    }
    text
}

/// `text` in lines of at most `width` characters of the terminal, broken between words where that is possible.
pub(crate) fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let text = single_line(text);
    let Some(width) = width else { return vec![text] };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn total(shown: &[(usize, usize)]) -> usize {
    shown.iter().map(|(_, width)| width).sum::<usize>() + GAP.len() * shown.len().saturating_sub(1)
}

fn leave_out(columns: &[Column], shown: &mut Vec<(usize, usize)>, width: usize) {
    while total(shown) > width {
        let rank = |index: usize| columns.get(index).and_then(|c| c.dispensable);
        let ranked = shown.iter().enumerate().filter_map(|(position, (index, _))| Some((rank(*index)?, position)));
        let Some((_, position)) = ranked.max() else { return };
        shown.remove(position);
    }
}

/// Takes from the widest of the columns that may be cut until all fit or none may become narrower.
fn shrink(columns: &[Column], shown: &mut [(usize, usize)], width: usize) {
    while total(shown) > width {
        let may_shrink = |(index, width): &(usize, usize)| *width > LEAST_WIDTH && columns.get(*index).is_some_and(|c| c.shrinks);
        let Some(widest) = shown.iter_mut().filter(|c| may_shrink(c)).max_by_key(|(_, width)| *width) else { return };
        widest.1 -= 1;
    }
}

/// `text` cut to `width` characters of the terminal; `None` when it fits.
fn shortened(text: &str, width: usize) -> Option<String> {
    if text.width() <= width {
        return None;
    }
    let mut short = String::new();
    let mut used = 1;
    for character in text.chars() {
        used += character.width().unwrap_or_default();
        if used > width {
            break;
        }
        short.push(character);
    }
    short.push(ELLIPSIS);
    Some(short)
}

/// `text` on one line, cut to `width` characters of the terminal.
pub(crate) fn clipped(text: &str, width: Option<usize>) -> String {
    let text = single_line(text);
    width.and_then(|width| shortened(&text, width)).unwrap_or(text)
}

/// Control characters as escapes, so that a cell is one line and nothing in it steers the terminal.
fn single_line(text: &str) -> String {
    if !text.chars().any(is_unsafe) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut line, c| {
        if is_unsafe(c) {
            line.extend(c.escape_default())
        } else {
            line.push(c)
        }
        line
    })
}

/// Control characters, and those that turn the direction of the text around.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(texts: &[&[&str]]) -> Vec<Vec<Cell>> {
        texts.iter().map(|row| row.iter().map(Cell::from).collect()).collect()
    }

    fn people() -> Vec<Vec<Cell>> {
        rows(&[&["Ada", "1,815", "wrote the first program for a machine that was never built"], &["Grace", "7", "found a moth"]])
    }

    fn columns() -> Vec<Column> {
        vec![Column::text("name"), Column::number("n").dispensable(1), Column::text("note").shrinking()]
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let text = grid(columns(), &people(), None, Palette::default());
        insta::assert_snapshot!(text, @r#"
        name       n  note
        ─────  ─────  ──────────────────────────────────────────────────────────
        Ada    1,815  wrote the first program for a machine that was never built
        Grace      7  found a moth
        "#);
        assert!(text.lines().all(|l| l == l.trim_end()));
    }

    #[test]
    fn wide_cells_are_cut_to_the_width_and_counted() {
        let people = rows(&[&["Ada", "a note that is longer than the terminal is wide"]]);
        let columns = vec![Column::text("name"), Column::text("note").shrinking()];
        let layout = Layout::fit(columns, &people, Some(30), Palette::default());
        let (line, cut) = layout.row(&people[0]);
        assert_eq!((line.trim_end().width(), cut), (30, 1));
        assert!(line.ends_with("…\n"));
    }

    #[test]
    fn what_can_be_spared_is_left_out_before_anything_is_cut() {
        let layout = Layout::fit(columns(), &rows(&[&["Grace", "1,815", "found a moth"]]), Some(20), Palette::default());
        assert_eq!(layout.hidden(), 1);
        assert_eq!(layout.row(&rows(&[&["Grace", "1,815", "found a moth"]])[0]), ("Grace  found a moth\n".to_owned(), 0));
    }

    #[test]
    fn columns_that_cannot_fit_are_hidden_from_the_right() {
        let columns = (0..10).map(|n| Column::text(format!("column_{n}")).shrinking()).collect();
        let layout = Layout::fit(columns, &[], Some(40), Palette::default());
        assert_eq!(layout.hidden(), 6);
        assert!(layout.header().lines().all(|l| l.width() <= 40));
    }

    #[test]
    fn text_that_is_to_be_read_goes_on_below() {
        let columns = vec![Column::text("name"), Column::text("note").wrapping(), Column::number("n")];
        let rows = rows(&[&["Ada", "wrote the first program for a machine", "1815"], &["Grace", "found a moth", "7"]]);
        insta::assert_snapshot!(grid(columns, &rows, Some(32), Palette::default()), @r#"
        name   note                    n
        ─────  ───────────────────  ────
        Ada    wrote the first      1815
               program for a
               machine
        Grace  found a moth            7
        "#);
    }

    #[test]
    fn double_width_characters_count_twice() {
        assert_eq!(shortened("日本語", 6), None);
        assert_eq!(shortened("日本語", 5).as_deref(), Some("日本…"));
        assert_eq!(shortened("日本語", 4).as_deref(), Some("日…"));
    }

    #[test]
    fn data_cannot_steer_the_terminal() {
        assert_eq!(single_line("a\u{1b}[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\nc\\u{202e}d");
    }

    #[test]
    fn colours_do_not_disturb_the_alignment() {
        let row = vec![Cell::new("ok", Tone::Good), Cell::from("x")];
        let layout =
            Layout::fit(vec![Column::text("status"), Column::text("b")], std::slice::from_ref(&row), None, Palette::new(true));
        assert_eq!(layout.row(&row).0, "\u{1b}[32mok\u{1b}[0m      x\n");
    }
}
