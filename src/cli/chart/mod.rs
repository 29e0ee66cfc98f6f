//! Charts as SVG, and pixels for PNG, without scripts and without anything from elsewhere: they open offline and print well. Colors are classes,
//! so that the page decides them for light and dark.

mod area;
mod axis;
mod boxes;
mod canvas;
mod timeline;

use std::fmt::Write as _;

pub(super) use area::{Layer, area};
pub(super) use axis::Unit;
pub(super) use boxes::{BoxRow, boxes};
pub(super) use canvas::{Anchor as TextAnchor, Canvas, Color};
pub(super) use timeline::{Bar, lane_count, lanes, load, strips};

/// Width of every chart in its own units; the page scales it.
const WIDTH: f64 = 960.0;

/// A drawing under way.
#[derive(Debug)]
pub(super) struct Svg {
    body: String,
}

/// Where a text hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    fn new() -> Self {
        Self { body: String::new() }
    }

    fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str, title: Option<&str>) {
        let (x, y, width, height) = (short(x), short(y), short(width), short(height));
        self.put(format_args!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\""));
        match title {
            Some(title) => self.put(format_args!("><title>{}</title></rect>\n", escape(title))),
            None => self.body.push_str("/>\n"),
        }
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        let (x1, y1, x2, y2) = (short(x1), short(y1), short(x2), short(y2));
        self.put(format_args!("<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>\n"));
    }

    fn path(&mut self, data: &str, class: &str) {
        self.put(format_args!("<path class=\"{class}\" d=\"{data}\"/>\n"));
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y, text) = (short(x), short(y), escape(text));
        self.put(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>\n"));
    }

    /// Draws an axis below a plot: ticks with their words and lines up to the top.
    fn time_axis(&mut self, left: f64, (top, bottom): (f64, f64), scale: f64, ticks: &[(f64, String)]) {
        for (value, words) in ticks {
            let x = left + value * scale;
            self.line((x, top), (x, bottom + 4.0), "grid");
            self.text((x, bottom + 16.0), Anchor::Middle, "tick", words);
        }
    }

    /// Closes the drawing. `label` is what it shows, in words.
    fn finish(self, height: f64, label: &str) -> String {
        let (height, label) = (short(height), escape(label));
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\" \
             xmlns=\"http://www.w3.org/2000/svg\">\n{}</svg>\n",
            self.body
        )
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ok = self.body.write_fmt(text);
    }
}

/// Prints a coordinate with a tenth of a unit at most.
fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Returns a text that a page shows as it is: no tag, no attribute ends in it, and no control character stays.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Cuts a text to a number of letters, its end marked.
fn cut(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    let head: String = text.chars().take(letters.saturating_sub(1)).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_place() {
        assert_eq!(
            escape("<script>alert('x' & \"y\")</script>\u{1b}"),
            "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;\u{fffd}"
        );
        let mut svg = Svg::new();
        svg.text((1.0, 2.25), Anchor::End, "tick", "a<b");
        svg.rect((0.0, 0.0), (10.0, 3.33), "bar", Some("\"&"));
        assert_eq!(
            svg.finish(20.0, "<x>"),
            "<svg viewBox=\"0 0 960 20\" role=\"img\" aria-label=\"&lt;x&gt;\" xmlns=\"http://www.w3.org/2000/svg\">\n\
             <text class=\"tick\" x=\"1\" y=\"2.2\" text-anchor=\"end\">a&lt;b</text>\n\
             <rect class=\"bar\" x=\"0\" y=\"0\" width=\"10\" height=\"3.3\"><title>&quot;&amp;</title></rect>\n</svg>\n"
        );
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(cut("align", 5), "align");
        assert_eq!(cut("alignment", 5), "alig…");
    }
}
