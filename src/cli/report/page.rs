//! A page of text for a terminal: width, colour, cutting, and nothing of a log that could steer
//! the terminal.

/// Where a page goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Columns.
    pub(super) width: usize,
    /// Whether colour is wanted.
    pub(super) colour: bool,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Dim,
    Bold,
    Good,
    Bad,
    Doubtful,
}

impl Look {
    /// The text in its colour.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => "",
            Tone::Dim => "2",
            Tone::Bold => "1",
            Tone::Good => "1;32",
            Tone::Bad => "1;31",
            Tone::Doubtful => "1;33",
        };
        if !self.colour || code.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Words wrapped behind a label that stands in the margin.
    pub(super) fn hang(self, label: &str, tone: Tone, margin: usize, text: &str) -> String {
        let room = self.width.saturating_sub(margin).max(20);
        let mut out = String::new();
        for (number, line) in wrap(&clean(text), room).into_iter().enumerate() {
            let head = if number == 0 { label } else { "" };
            let gap = margin.saturating_sub(head.chars().count()).max(1);
            out.push_str(&self.paint(tone, head));
            out.push_str(&" ".repeat(gap));
            out.push_str(&line);
            out.push('\n');
        }
        out
    }
}

/// The text without anything that a terminal would obey.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { if c == '\t' { ' ' } else { '·' } } else { c })
        .collect()
}

/// At most so many columns, cut at the end.
pub(super) fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// At most so many columns, cut at the front: of a path the end tells more.
pub(super) fn cut_front(text: &str, room: usize) -> String {
    let count = text.chars().count();
    if count <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(count.saturating_sub(room.saturating_sub(1))).collect();
    format!("…{kept}")
}

/// Lines of at most `room` columns, broken at blanks; a longer word stays whole.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let Some(line) = lines.last_mut() else { break };
        let length = line.chars().count();
        if length > 0 && length + 1 + word.chars().count() > room {
            lines.push(word.to_owned());
        } else {
            if length > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// A curve of one character a point, from 0 to `most`.
pub(super) fn spark(values: &[f64], most: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bar = |value: f64| {
        let share = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
        // Anything above nothing is seen.
        let level = (share * 7.0).ceil();
        BARS.iter().enumerate().find(|(at, _)| level <= f64::from(u8::try_from(*at).unwrap_or(7)))
    };
    values.iter().map(|value| bar(*value).map_or('█', |(_, bar)| *bar)).collect()
}

/// `values` in at most `room` points, the largest of those that join.
pub(super) fn squeeze(values: &[f64], room: usize) -> Vec<f64> {
    let room = room.max(1);
    let size = values.len().div_ceil(room).max(1);
    values.chunks(size).map(|chunk| chunk.iter().copied().fold(0.0, f64::max)).collect()
}

/// A table; each column as wide as its longest cell, the last one cut at the page's edge.
pub(super) fn table(rows: &[Vec<String>], width: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |at: usize| {
        rows.iter()
            .filter_map(|row| row.get(at))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if at + 1 < row.len() {
                let wide = widths.get(at).copied().unwrap_or(0);
                line.push_str(&" ".repeat(wide.saturating_sub(cell.chars().count()) + 2));
            }
        }
        cut(line.trim_end(), width)
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_log_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[31mb\tc\r\n"), "a·[31mb c··");
        let look = Look { width: 30, colour: false };
        assert_eq!(look.hang("next", Tone::Dim, 6, "one two"), "next  one two\n");
        assert_eq!(look.hang("a", Tone::Dim, 3, &"word ".repeat(8)).lines().count(), 2);
    }

    #[test]
    fn curves_show_little_and_much() {
        assert_eq!(spark(&[0.0, 0.01, 0.5, 1.0], 1.0), "▁▂▅█");
        assert_eq!(spark(&[3.0], 0.0), "▁");
        assert_eq!(squeeze(&[1.0, 9.0, 2.0, 3.0, 4.0], 2), [9.0, 4.0]);
    }

    #[test]
    fn long_cells_are_cut_where_they_tell_least() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut_front("/src/pool.go:88", 9), "…ol.go:88");
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["ccc".to_owned(), "d".to_owned()]];
        assert_eq!(table(&rows, 80), ["a    b", "ccc  d"]);
    }
}
