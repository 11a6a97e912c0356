//! Values as people see them.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use unicode_width::UnicodeWidthStr as _;

use super::describe;
use crate::error::{Context as _, Result};

const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_display_error(true);

/// Shows the values of a batch.
pub(super) struct Cells<'a>(Vec<ArrayFormatter<'a>>);

impl<'a> Cells<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self> {
        let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &OPTIONS));
        Ok(Self(formatters.collect::<Result<_, _>>().context(describe)?))
    }

    /// The values of a row.
    pub(super) fn of_row(&self, row: usize) -> impl Iterator<Item = String> {
        self.0.iter().map(move |column| harmless(column.value(row).to_string()))
    }
}

/// The text without control characters, which would be orders to the terminal; lines stay lines.
pub(super) fn harmless(text: String) -> String {
    let is_order = |c: char| c.is_control() && c != '\n';
    if !text.contains(is_order) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_order(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// The columns of a terminal that the widest line of a text takes.
pub(super) fn width(text: &str) -> usize {
    text.split('\n').map(str::width).max().unwrap_or(0)
}

/// Adds a line of text, and what it lacks of `width` columns.
pub(super) fn pad(out: &mut String, text: &str, width: usize) {
    out.push_str(text);
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(text.width())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_to_the_terminal_are_shown_and_not_given() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\tc\u{9b}\nd".to_owned()), "a\\u{1b}[2Jb\\r\\tc\\u{9b}\nd");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!((width("日本"), width("e\u{301}"), width("ab\nabc"), width("")), (4, 1, 3, 0));
    }
}
