//! The picture as lines of text: boxes, and arrows in the channels between their layers.

use std::collections::BTreeSet;

use crate::cli::picture::layout::{Layout, Slot, layout};
use crate::cli::picture::{Dag, Mood, Node};
use crate::cli::view::Paint;
use crate::cli::view::words::number;

/// Letters that boxes and arrows are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Style {
    /// Box drawing.
    Unicode,
    /// `+`, `-`, `|`.
    Ascii,
}

/// Shortest name that a box is cut to.
const SHORTEST: usize = 8;

const NORTH: u8 = 1;
const EAST: u8 = 2;
const SOUTH: u8 = 4;
const WEST: u8 = 8;

/// Lines by the directions that they lead to.
const LINES: [char; 16] = [' ', '╵', '╶', '└', '╷', '│', '┌', '├', '╴', '┘', '─', '┴', '┐', '┤', '┬', '┼'];

/// Draws a picture. Returns none when it is wider than `columns` however much names are cut.
pub(in crate::cli) fn terminal(dag: &Dag, columns: usize, style: Style, paint: Paint) -> Option<String> {
    let dag = &dag.downward();
    let longest = dag.nodes.iter().map(|node| console::measure_text_width(&node.name)).max().unwrap_or(0);
    let mut most = longest;
    loop {
        let boxes: Vec<Vec<String>> = dag.nodes.iter().map(|node| words(node, most, style)).collect();
        let width =
            |lines: &Vec<String>| lines.iter().map(|line| console::measure_text_width(line)).max().unwrap_or(0) + 4;
        let layout = layout(dag, &boxes.iter().map(width).collect::<Vec<_>>());
        if layout.width <= columns {
            return Some(Canvas::new(&layout, &boxes).draw(dag, &layout, &boxes, style, paint));
        }
        if most <= SHORTEST {
            return None;
        }
        most = (most - most.div_ceil(10)).max(SHORTEST);
    }
}

/// Returns the lines in a node's box.
fn words(node: &Node, most: usize, style: Style) -> Vec<String> {
    let (times, dots) = if style == Style::Unicode { ("×", "…") } else { ("x", "..") };
    let name: String = node.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut lines = vec![cut_middle(&name, most, dots)];
    let instances =
        (node.instances != node.tasks || node.instances == 0).then(|| format!("{times}{}", number(node.instances)));
    let tasks = (node.tasks > 1).then(|| format!("{} tasks", number(node.tasks)));
    let size: Vec<String> = [tasks, instances].into_iter().flatten().collect();
    if let Some(progress) = node.progress() {
        lines.push(progress);
    } else if !size.is_empty() {
        lines.push(size.join(" "));
    }
    lines
}

/// Cuts a name in its middle: names of one workflow mostly differ at their ends.
fn cut_middle(name: &str, most: usize, dots: &str) -> String {
    let width = console::measure_text_width;
    if width(name) <= most {
        return name.to_owned();
    }
    let room = most.saturating_sub(width(dots));
    let head = console::truncate_str(name, room / 3, "");
    let mut tail = name.get(head.len()..).unwrap_or_default();
    while width(tail) > room - width(&head) {
        let mut letters = tail.chars();
        letters.next();
        tail = letters.as_str();
    }
    format!("{head}{dots}{tail}")
}

/// What stands in a column of a row.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    lines: u8,
    letter: Option<char>,
    /// Position of the node that it belongs to, counted from 1.
    node: u32,
}

/// Rows of cells.
struct Canvas {
    rows: Vec<Vec<Cell>>,
    width: usize,
    /// First row of each layer's boxes, and of the channel below it.
    tops: Vec<(usize, usize)>,
    /// The arrows below each layer.
    channels: Vec<Channel>,
}

impl Canvas {
    fn new(layout: &Layout, boxes: &[Vec<String>]) -> Self {
        let mut tops = Vec::new();
        let mut channels = Vec::new();
        let mut row = 0;
        for (index, layer) in layout.layers.iter().enumerate() {
            let height = |&slot: &usize| {
                let node = layout.slots.get(slot).and_then(|slot| slot.node);
                node.and_then(|node| boxes.get(node)).map_or(0, |lines| lines.len() + 2)
            };
            let height = layer.iter().map(height).max().unwrap_or(0);
            let channel = Channel::new(layout, layer);
            tops.push((row, row + height));
            row += height + if index + 1 < layout.layers.len() { channel.height.max(1) } else { 0 };
            channels.push(channel);
        }
        let rows = vec![vec![Cell::default(); layout.width]; row];
        Self { rows, width: layout.width, tops, channels }
    }

    fn draw(mut self, dag: &Dag, layout: &Layout, boxes: &[Vec<String>], style: Style, paint: Paint) -> String {
        for (index, layer) in layout.layers.iter().enumerate() {
            let Some(&rows) = self.tops.get(index) else { continue };
            for slot in layer.iter().filter_map(|&id| layout.slots.get(id)) {
                match slot.node.and_then(|node| Some((node, boxes.get(node)?))) {
                    Some((node, lines)) => self.put_box(slot, node, lines, rows),
                    None => self.vertical(slot.center(), rows.0, rows.1),
                }
            }
        }
        for (index, channel) in std::mem::take(&mut self.channels).iter().enumerate() {
            let Some(&(_, top)) = self.tops.get(index) else { continue };
            let end = self.tops.get(index + 1).map_or(top, |(next, _)| *next);
            for net in &channel.nets {
                self.put_arrows(net, top, end);
                for &(column, to) in &net.ends {
                    if layout.slots.get(to).is_some_and(|slot| slot.node.is_some())
                        && let Some(cell) = self.cell(end, column)
                    {
                        cell.letter = Some(if style == Style::Unicode { '▼' } else { 'v' });
                    }
                }
            }
        }
        self.print(dag, style, paint)
    }

    fn cell(&mut self, row: usize, column: usize) -> Option<&mut Cell> {
        self.rows.get_mut(row).and_then(|row| row.get_mut(column))
    }

    fn line(&mut self, row: usize, column: usize, lines: u8) {
        if let Some(cell) = self.cell(row, column) {
            let crossing = cell.lines | lines == NORTH | EAST | SOUTH | WEST
                && matches!(lines, 5 | 10)
                && matches!(cell.lines, 5 | 10);
            // Lines that only cross do not join: the upright one passes over.
            cell.lines = if crossing { NORTH | SOUTH } else { cell.lines | lines };
        }
    }

    fn vertical(&mut self, column: usize, from: usize, to: usize) {
        for row in from..to {
            self.line(row, column, NORTH | SOUTH);
        }
    }

    fn put_box(&mut self, slot: &Slot, node: usize, lines: &[String], (top, bottom): (usize, usize)) {
        let last = top + lines.len() + 1;
        let right = slot.left + slot.width - 1;
        for (row, vertical) in [(top, SOUTH), (last, NORTH)] {
            self.line(row, slot.left, EAST | vertical);
            self.line(row, right, WEST | vertical);
            for column in slot.left + 1..right {
                self.line(row, column, EAST | WEST);
            }
        }
        for (index, text) in lines.iter().enumerate() {
            let row = top + 1 + index;
            self.line(row, slot.left, NORTH | SOUTH);
            self.line(row, right, NORTH | SOUTH);
            self.put_text(row, slot.left + 1, slot.width - 2, text);
        }
        for row in top..=last {
            for column in slot.left..=right {
                if let Some(cell) = self.cell(row, column) {
                    cell.node = node as u32 + 1;
                }
            }
        }
        if !slot.down.is_empty() {
            self.line(last, slot.center(), SOUTH);
            self.vertical(slot.center(), last + 1, bottom);
        }
    }

    /// Writes a text in the middle of a box. A letter of two columns takes the cell to its right as well.
    fn put_text(&mut self, row: usize, left: usize, width: usize, text: &str) {
        let mut column = left + width.saturating_sub(console::measure_text_width(text)) / 2;
        for letter in text.chars() {
            let wide = console::measure_text_width(letter.encode_utf8(&mut [0; 4]));
            if wide == 0 {
                continue;
            }
            if let Some(cell) = self.cell(row, column) {
                cell.letter = Some(letter);
            }
            for taken in column + 1..column + wide {
                if let Some(cell) = self.cell(row, taken) {
                    cell.letter = Some('\0');
                }
            }
            column += wide;
        }
    }

    /// Draws the arrows that leave a slot: down, along their row, and down to each end.
    fn put_arrows(&mut self, net: &Net, top: usize, end: usize) {
        let Some(track) = net.track.map(|track| top + track) else { return self.vertical(net.from, top, end) };
        self.vertical(net.from, top, track);
        let (low, high) = net.reach();
        for column in low..=high {
            let mut lines = 0;
            lines |= if column > low { WEST } else { 0 };
            lines |= if column < high { EAST } else { 0 };
            lines |= if column == net.from { NORTH } else { 0 };
            lines |= if net.ends_at(column) { SOUTH } else { 0 };
            self.line(track, column, lines);
        }
        for &(column, _) in &net.ends {
            self.vertical(column, track + 1, end);
        }
    }

    fn print(&self, dag: &Dag, style: Style, paint: Paint) -> String {
        let mut text = String::with_capacity(self.rows.len() * (self.width + 1));
        for row in &self.rows {
            let used = row.iter().rposition(|cell| cell.lines != 0 || cell.letter.is_some()).map_or(0, |last| last + 1);
            let mut run = String::new();
            let mut of = 0;
            for cell in row.iter().take(used) {
                if cell.node != of {
                    flush(&mut text, &mut run, of, dag, paint);
                    of = cell.node;
                }
                match cell.letter {
                    Some('\0') => {}
                    Some(letter) => run.push(letter),
                    None => run.push(glyph(cell.lines, style)),
                }
            }
            flush(&mut text, &mut run, of, dag, paint);
            text.push('\n');
        }
        text
    }
}

fn flush(text: &mut String, run: &mut String, node: u32, dag: &Dag, paint: Paint) {
    let mood = (node as usize).checked_sub(1).and_then(|node| dag.nodes.get(node)).map_or(Mood::Plain, Node::mood);
    let painted = match mood {
        Mood::Plain => run.clone(),
        Mood::Waiting | Mood::Left => paint.dim(&run).to_string(),
        Mood::Running => paint.cyan(&run).to_string(),
        Mood::Done => paint.green(&run).to_string(),
        Mood::Failed => paint.red(&run).to_string(),
    };
    text.push_str(&painted);
    run.clear();
}

fn glyph(lines: u8, style: Style) -> char {
    match style {
        Style::Unicode => LINES.get(lines as usize).copied().unwrap_or(' '),
        Style::Ascii => match lines {
            0 => ' ',
            1 | 4 | 5 => '|',
            2 | 8 | 10 => '-',
            _ => '+',
        },
    }
}

/// The arrows between two layers.
#[derive(Clone, Debug, Default)]
struct Channel {
    nets: Vec<Net>,
    /// Rows of horizontal lines.
    height: usize,
}

/// The arrows that leave a slot.
#[derive(Clone, Debug)]
struct Net {
    from: usize,
    /// Columns where they end, and the slots there.
    ends: Vec<(usize, usize)>,
    /// Row of the horizontal line; none where the arrow simply falls.
    track: Option<usize>,
}

impl Net {
    fn ends_at(&self, column: usize) -> bool {
        self.ends.iter().any(|&(end, _)| end == column)
    }

    fn reach(&self) -> (usize, usize) {
        let low = self.ends.iter().map(|&(end, _)| end).min().unwrap_or(self.from);
        let high = self.ends.iter().map(|&(end, _)| end).max().unwrap_or(self.from);
        (low.min(self.from), high.max(self.from))
    }

    /// Returns whether two horizontal lines may share a row: they do not touch, meet where both end, or lead to the same
    /// boxes all along.
    fn suits(&self, other: &Self) -> bool {
        if self.ends == other.ends {
            return true;
        }
        let ((low, high), (l, h)) = (self.reach(), other.reach());
        let meet = |column: usize| self.ends_at(column) && other.ends_at(column);
        high + 1 < l || h + 1 < low || (high == l && meet(l)) || (h == low && meet(low))
    }
}

impl Channel {
    /// Lays out the arrows below a layer. Where uprights would run into each other in a circle, arrows end beside the middle
    /// of their boxes.
    fn new(layout: &Layout, layer: &[usize]) -> Self {
        let straight = Self::with_ends(layout, layer, 0);
        straight.or_else(|circle| Self::with_ends(layout, layer, 1).map_err(|_| circle)).unwrap_or_else(|circle| circle)
    }

    fn with_ends(layout: &Layout, layer: &[usize], beside: usize) -> Result<Self, Self> {
        let slots = layer.iter().filter_map(|&id| layout.slots.get(id)).filter(|slot| !slot.down.is_empty());
        let mut waiting: Vec<Net> = slots
            .map(|slot| {
                let ends = slot.down.iter().filter_map(|&to| Some((to, layout.slots.get(to)?)));
                let column = |to: &Slot| to.center() + if to.node.is_some() { beside } else { 0 };
                Net {
                    from: slot.center(),
                    ends: ends.map(|(id, to)| (column(to), id)).collect::<BTreeSet<_>>().into_iter().collect(),
                    track: None,
                }
            })
            .collect();
        let mut channel = Self::default();
        let mut circle = false;
        while !waiting.is_empty() {
            // A net must wait while another, not yet placed, starts above one of its ends.
            let free = |net: &Net| waiting.iter().all(|other| other.from == net.from || !net.ends_at(other.from));
            let ready = waiting.iter().position(free);
            circle |= ready.is_none();
            let mut net = waiting.remove(ready.unwrap_or(0));
            if net.ends.iter().any(|&(end, _)| end != net.from) {
                let above = channel.nets.iter().filter(|other| net.ends_at(other.from));
                let first = above.filter_map(|other| other.track).map(|track| track + 1).max().unwrap_or(0);
                let open = |row: &usize| {
                    let mut others = channel.nets.iter().filter(|other| other.track == Some(*row));
                    others.all(|other| net.suits(other))
                };
                let row = (first..channel.height).find(open).unwrap_or(channel.height.max(first));
                channel.height = channel.height.max(row + 1);
                net.track = Some(row);
            }
            channel.nets.push(net);
        }
        if circle { Err(channel) } else { Ok(channel) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::api::Counts;

    fn dag(nodes: &[(&str, u32)], edges: &[(u32, u32)]) -> Dag {
        let node = |&(name, instances): &(&str, u32)| Node { name: name.to_owned(), instances, tasks: 1, counts: None };
        Dag { name: "test".to_owned(), nodes: nodes.iter().map(node).collect(), edges: edges.to_vec() }
    }

    fn picture(dag: &Dag) -> String {
        terminal(dag, 80, Style::Unicode, Paint::new(false)).unwrap()
    }

    #[test]
    fn variants() {
        let dag = dag(
            &[("index", 1), ("align", 12), ("sort", 12), ("call", 12), ("merge", 1), ("stats", 12), ("report", 1)],
            &[(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (2, 5), (4, 6), (5, 6)],
        );
        insta::assert_snapshot!(picture(&dag), @r#"
        ┌───────┐
        │ index │
        └───┬───┘
        ┌───┴──┐
    ┌───▼───┐  │
    │ align │  │
    │  ×12  │  │
    └───┬───┘  │
        │      │
     ┌──▼───┐  │
     │ sort │  │
     │ ×12  │  │
     └──┬───┘  │
    ┌───┴─────┬┘
┌───▼───┐  ┌──▼───┐
│ stats │  │ call │
│  ×12  │  │ ×12  │
└───┬───┘  └──┬───┘
    └─┐      ┌┘
      │  ┌───▼───┐
      │  │ merge │
      │  └───┬───┘
      └──┬───┘
     ┌───▼────┐
     │ report │
     └────────┘
"#);
    }

    #[test]
    fn diamond_and_a_task_of_its_own() {
        let dag = dag(
            &[("a", 1), ("left side", 3), ("right", 1), ("join", 1), ("alone", 2)],
            &[(0, 1), (0, 2), (1, 3), (2, 3)],
        );
        insta::assert_snapshot!(picture(&dag), @r#"
           ┌───┐  ┌───────┐
           │ a │  │ alone │
           └─┬─┘  │  ×2   │
             │    └───────┘
      ┌──────┴──────┐
┌─────▼─────┐   ┌───▼───┐
│ left side │   │ right │
│    ×3     │   └───┬───┘
└─────┬─────┘       │
      └──────┬──────┘
          ┌──▼───┐
          │ join │
          └──────┘
"#);
    }

    #[test]
    fn arrows_that_cross() {
        let dag = dag(
            &[("a", 1), ("b", 1), ("c", 1), ("x", 1), ("y", 1), ("z", 1)],
            &[(0, 3), (0, 4), (0, 5), (1, 3), (1, 5), (2, 3), (2, 4)],
        );
        insta::assert_snapshot!(picture(&dag), @r#"
┌───┐  ┌───┐  ┌───┐
│ b │  │ a │  │ c │
└─┬─┘  └─┬─┘  └─┬─┘
  └┬─────│┬─────┴┐
   ├─────┴┼──────┤
┌──▼┐  ┌──▼┐  ┌──▼┐
│ z │  │ x │  │ y │
└───┘  └───┘  └───┘
"#);
    }

    #[test]
    fn a_run_in_ascii() {
        let mut dag = dag(&[("split", 1), ("bl\u{fc}te \u{82b1}", 8), ("join", 1)], &[(0, 1), (1, 2)]);
        dag.nodes[0].counts = Some(Counts { done: 1, ..Counts::default() });
        dag.nodes[1].counts = Some(Counts { done: 3, failed: 2, running: 3, ..Counts::default() });
        dag.nodes[2].counts = Some(Counts { pending: 1, ..Counts::default() });
        insta::assert_snapshot!(terminal(&dag, 80, Style::Ascii, Paint::new(false)).unwrap(), @r#"
    +-------+
    | split |
    |  1/1  |
    +---+---+
        |
+-------v-------+
|   blüte 花    |
| 3/8, 2 failed |
+-------+-------+
        |
     +--v---+
     | join |
     | 0/1  |
     +------+
"#);
    }

    #[test]
    fn names_are_cut_before_a_picture_is_given_up() {
        let long = "a_task_with_a_name_that_is_much_longer_than_it_should_be";
        let three = dag(&[(long, 1), (long, 1), (long, 1)], &[]);
        let text = picture(&three);
        assert!(text.contains('…') && text.lines().all(|line| console::measure_text_width(line) <= 80), "{text}");
        let many = dag(&vec![(long, 1); 40], &[]);
        assert_eq!(terminal(&many, 80, Style::Unicode, Paint::new(false)), None);
    }

    #[test]
    fn tasks_in_a_circle_are_drawn_in_the_order_of_the_file() {
        let dag = dag(&[("step", 5), ("check", 5), ("end", 1)], &[(0, 1), (1, 0), (1, 2)]);
        insta::assert_snapshot!(picture(&dag), @r#"
 ┌──────┐
 │ step │
 │  ×5  │
 └──┬───┘
    │
┌───▼───┐
│ check │
│  ×5   │
└───┬───┘
    │
 ┌──▼──┐
 │ end │
 └─────┘
"#);
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(cut_middle("NFCORE_BACASS_FASTQC", 12, "…"), "NFC…S_FASTQC");
        assert_eq!(cut_middle("short", 12, "…"), "short");
        assert!(console::measure_text_width(&cut_middle("花花花花花花花花花花", 11, "…")) <= 11);
    }

    proptest! {
        #[test]
        fn every_name_stands_in_the_picture(
            count in 1usize..14,
            arrows in prop::collection::vec((0usize..14, 0usize..14), 0..30),
        ) {
            let names: Vec<String> = (0..count).map(|n| format!("task{n:02}")).collect();
            let mut edges: Vec<(u32, u32)> = arrows
                .into_iter()
                .map(|(a, b)| (a % count, b % count))
                .filter(|(a, b)| a != b)
                .map(|(a, b)| (a.min(b) as u32, a.max(b) as u32))
                .collect();
            edges.sort_unstable();
            edges.dedup();
            let nodes: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
            let text = terminal(&dag(&nodes, &edges), 1000, Style::Unicode, Paint::new(false)).unwrap();
            for (index, name) in names.iter().enumerate() {
                prop_assert_eq!(text.matches(name.as_str()).count(), 1, "{} in\n{}", name, text);
                let _ = index;
            }
            let waiting = edges.iter().map(|(_, to)| to).collect::<std::collections::BTreeSet<_>>().len();
            prop_assert_eq!(text.matches('▼').count(), waiting, "{}", text);
        }
    }
}
