//! Distributions side by side: a box from the first to the third quartile, its median, whiskers over 90 % of the values.

use crate::cli::chart::axis::{Unit, log_ticks, ticks};
use crate::cli::chart::{Anchor, Svg, WIDTH, cut};
use crate::cli::view::words::duration;
use crate::model::units::Bytes;

const LEFT: f64 = 190.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 6.0;
const ROW: f64 = 22.0;

/// Largest over smallest value beyond which an axis is logarithmic.
const WIDE: f64 = 50.0;

/// Values of one row.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct BoxRow {
    /// What the row is called.
    pub(in crate::cli) name: String,
    /// Its class: the color.
    pub(in crate::cli) class: String,
    /// The values, sorted.
    pub(in crate::cli) values: Vec<f64>,
}

impl BoxRow {
    /// Makes a row of values in any order; what is no number above 0 is left out.
    pub(in crate::cli) fn new(name: &str, class: &str, mut values: Vec<f64>) -> Self {
        values.retain(|value| value.is_finite() && *value > 0.0);
        values.sort_by(f64::total_cmp);
        Self { name: name.to_owned(), class: class.to_owned(), values }
    }

    /// Returns the value below which this part of the values lies, between neighbors where it falls between them.
    pub(in crate::cli) fn quantile(&self, part: f64) -> Option<f64> {
        let last = self.values.len().checked_sub(1)?;
        let at = part.clamp(0.0, 1.0) * last as f64;
        let (low, high) = (self.values.get(at.floor() as usize)?, self.values.get(at.ceil() as usize)?);
        Some(low + (high - low) * at.fract())
    }
}

/// Draws a row per distribution; those without values are left out.
pub(in crate::cli) fn boxes(rows: &[BoxRow], unit: Unit, label: &str) -> String {
    let rows: Vec<&BoxRow> = rows.iter().filter(|row| !row.values.is_empty()).collect();
    let min = rows.iter().filter_map(|row| row.values.first()).copied().fold(f64::INFINITY, f64::min);
    let max = rows.iter().filter_map(|row| row.values.last()).copied().fold(0.0, f64::max);
    let bottom = TOP + ROW * rows.len() as f64;
    let width = WIDTH - LEFT - RIGHT;
    let logarithmic = max > min * WIDE;
    // A little room below the smallest value keeps its mark off the edge.
    let floor = min * 0.8;
    let x = |value: f64| {
        let part = if logarithmic { (value / floor).ln() / (max / floor).ln() } else { value / max.max(1e-12) };
        LEFT + width * part.clamp(0.0, 1.0)
    };
    let mut svg = Svg::new();
    let marks = if logarithmic { log_ticks(unit, floor, max) } else { ticks(unit, max, 8) };
    for (value, words) in marks {
        svg.line((x(value), TOP), (x(value), bottom + 4.0), "grid");
        svg.text((x(value), bottom + 16.0), Anchor::Middle, "tick", &words);
    }
    for (index, row) in rows.iter().enumerate() {
        draw(&mut svg, row, TOP + ROW * index as f64, unit, &x);
    }
    svg.finish(bottom + 24.0, label)
}

fn draw(svg: &mut Svg, row: &BoxRow, top: f64, unit: Unit, x: &impl Fn(f64) -> f64) {
    let middle = top + ROW / 2.0;
    let at = |part: f64| row.quantile(part).unwrap_or(0.0);
    svg.text((LEFT - 8.0, middle + 4.0), Anchor::End, "name", &cut(&row.name, 28));
    let (low, high, median) = (at(0.05), at(0.95), at(0.5));
    let words = |value: f64| in_words(unit, value);
    let title = format!(
        "{}: median {}, 90 % between {} and {}, largest {}, {} values",
        row.name,
        words(median),
        words(low),
        words(high),
        words(at(1.0)),
        row.values.len()
    );
    svg.line((x(low), middle), (x(high), middle), "whisker");
    for end in [low, high] {
        svg.line((x(end), middle - 4.0), (x(end), middle + 4.0), "whisker");
    }
    // A single value is a box, too, or its color would not be seen.
    let (left, right) = (x(at(0.25)).min(x(median) - 3.0), x(at(0.75)).max(x(median) + 3.0));
    svg.rect((left, middle - 6.0), (right - left, 12.0), &row.class, Some(&title));
    svg.line((x(median), middle - 7.0), (x(median), middle + 7.0), "median");
    if at(1.0) > high {
        svg.line((x(at(1.0)), middle - 2.0), (x(at(1.0)), middle + 2.0), "whisker");
    }
    svg.text((WIDTH - RIGHT + 8.0, middle + 4.0), Anchor::Start, "tick", &words(median));
}

fn in_words(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Count => format!("{value:.0}"),
        Unit::Seconds => duration(value),
        Unit::Bytes => Bytes(value as u64).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbors() {
        let row = BoxRow::new("a", "c0", vec![4.0, 1.0, 3.0, 2.0, f64::NAN, 0.0]);
        assert_eq!(row.values, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(row.quantile(0.5), Some(2.5));
        assert_eq!(row.quantile(1.0), Some(4.0));
        assert_eq!(BoxRow::new("a", "c0", vec![]).quantile(0.5), None);
    }

    #[test]
    fn names_are_escaped_and_axes_fit() {
        let rows = [
            BoxRow::new("<script>alert(1)</script>", "c0", vec![1.0, 2.0, 3.0]),
            BoxRow::new("wide", "c1", vec![1.0, 1000.0]),
            BoxRow::new("empty", "c2", vec![]),
        ];
        let chart = boxes(&rows, Unit::Seconds, "run time");
        assert!(!chart.contains("<script>") && !chart.contains("empty") && !chart.contains("NaN"), "{chart}");
        for words in ["&lt;script&gt;", ">10s<", ">1m<", ">10m<"] {
            assert!(chart.contains(words), "{words} in {chart}");
        }
        assert!(boxes(&[], Unit::Bytes, "none").starts_with("<svg"));
    }
}
