//! When what ran: a bar per attempt in lanes while they are few, and a strip per task when they are many.

use std::collections::BTreeSet;

use crate::cli::chart::axis::{Unit, ticks};
use crate::cli::chart::{Anchor, Svg, WIDTH, cut};

const RIGHT: f64 = 12.0;
const TOP: f64 = 6.0;
const LANE: f64 = 17.0;
const STRIP: f64 = 20.0;
const NAMES: f64 = 190.0;

/// Parts that a strip is divided into.
const BINS: usize = 150;

/// Shades of a strip.
const SHADES: f64 = 5.0;

/// Width of a letter, about.
const LETTER: f64 = 6.2;

/// An attempt.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct Bar {
    /// Which row it belongs to where rows are tasks.
    pub(in crate::cli) row: usize,
    /// Its class: the color.
    pub(in crate::cli) class: String,
    /// Seconds from the start of the chart.
    pub(in crate::cli) start: f64,
    /// Seconds from the start of the chart.
    pub(in crate::cli) end: f64,
    /// Words in it, where there is room.
    pub(in crate::cli) label: String,
    /// What pointing at it says.
    pub(in crate::cli) title: String,
    /// Whether it failed.
    pub(in crate::cli) failed: bool,
    /// Whether it is marked: on the critical path.
    pub(in crate::cli) marked: bool,
}

/// Returns the lane of every bar, the first that is free at its start, and how many lanes there are. Bars come by start.
fn assign(bars: &[&Bar]) -> (Vec<usize>, usize) {
    let mut free: BTreeSet<usize> = BTreeSet::new();
    let mut busy: Vec<(f64, usize)> = Vec::new();
    let mut count = 0;
    let lanes = bars
        .iter()
        .map(|bar| {
            busy.retain(|&(end, lane)| {
                let stays = end > bar.start + 1e-9;
                if !stays {
                    free.insert(lane);
                }
                stays
            });
            let lane = free.pop_first().unwrap_or_else(|| {
                count += 1;
                count - 1
            });
            busy.push((bar.end, lane));
            lane
        })
        .collect();
    (lanes, count)
}

fn by_start(bars: &[Bar]) -> Vec<&Bar> {
    let mut sorted: Vec<&Bar> = bars.iter().collect();
    sorted.sort_by(|a, b| a.start.total_cmp(&b.start));
    sorted
}

/// Returns how many lanes the bars need.
pub(in crate::cli) fn lane_count(bars: &[Bar]) -> usize {
    assign(&by_start(bars)).1
}

/// Draws every bar in a lane.
pub(in crate::cli) fn lanes(bars: &[Bar], seconds: f64, label: &str) -> String {
    let left = 48.0;
    let scale = (WIDTH - left - RIGHT) / seconds.max(1e-9);
    let sorted = by_start(bars);
    let (lane_of, count) = assign(&sorted);
    let bottom = TOP + LANE * count as f64;
    let mut svg = Svg::new();
    svg.time_axis(left, (TOP, bottom), scale, &ticks(Unit::Seconds, seconds, 8));
    for (bar, lane) in sorted.iter().zip(lane_of) {
        let (x, y) = (left + bar.start * scale, TOP + LANE * lane as f64 + 1.0);
        let width = ((bar.end - bar.start) * scale).max(1.0);
        let failed = if bar.failed { " failed" } else { "" };
        let marked = if bar.marked { " marked" } else { "" };
        svg.rect((x, y), (width, LANE - 3.0), &format!("{}{failed}{marked}", bar.class), Some(&bar.title));
        let letters = ((width - 6.0) / LETTER).max(0.0) as usize;
        if letters >= 5 {
            svg.text((x + 4.0, y + LANE - 6.5), Anchor::Start, "inside", &cut(&bar.label, letters));
        }
    }
    svg.finish(bottom + 24.0, label)
}

/// Draws a strip per row: the darker, the more of its bars ran at that time. Marked bars stand as lines below.
pub(in crate::cli) fn strips(bars: &[Bar], rows: &[(String, String)], seconds: f64, label: &str) -> String {
    let scale = (WIDTH - NAMES - RIGHT) / seconds.max(1e-9);
    let bottom = TOP + STRIP * rows.len() as f64;
    let mut svg = Svg::new();
    svg.time_axis(NAMES, (TOP, bottom), scale, &ticks(Unit::Seconds, seconds, 8));
    let width = seconds.max(1e-9) / BINS as f64;
    for (row, (name, class)) in rows.iter().enumerate() {
        let y = TOP + STRIP * row as f64;
        svg.text((NAMES - 8.0, y + 13.0), Anchor::End, "name", &cut(name, 28));
        let of_row = bars.iter().filter(|bar| bar.row == row);
        let load = load(of_row.map(|bar| (bar.start, bar.end, 1.0)), seconds, BINS);
        let most = load.iter().copied().fold(0.0, f64::max);
        let shade =
            |load: f64| if load <= 0.0 { 0 } else { ((load / most.max(1e-12)) * SHADES).ceil().max(1.0) as u32 };
        let mut from = 0;
        while from < BINS {
            let of = |bin: usize| shade(load.get(bin).copied().unwrap_or(0.0));
            let to = (from..BINS).find(|&bin| of(bin) != of(from)).unwrap_or(BINS);
            if of(from) > 0 {
                let size = ((to - from) as f64 * width * scale, STRIP - 7.0);
                let mean = load.get(from..to).unwrap_or_default().iter().sum::<f64>() / (to - from) as f64;
                let title = format!("{name}: {mean:.1} at a time");
                let at = (NAMES + from as f64 * width * scale, y + 2.0);
                svg.rect(at, size, &format!("{class} s{}", of(from)), Some(&title));
            }
            from = to;
        }
        for bar in bars.iter().filter(|bar| bar.row == row && (bar.marked || bar.failed)).take(200) {
            let size = (((bar.end - bar.start) * scale).max(2.0), 2.5);
            let class = if bar.failed { "mark failed" } else { "mark" };
            svg.rect((NAMES + bar.start * scale, y + STRIP - 4.5), size, class, Some(&bar.title));
        }
    }
    svg.finish(bottom + 24.0, label)
}

/// Returns how much was going on in each of the equal parts of the time, on the average. What goes on has a start, an end
/// and a weight.
pub(in crate::cli) fn load(spans: impl Iterator<Item = (f64, f64, f64)>, seconds: f64, bins: usize) -> Vec<f64> {
    let width = seconds.max(1e-9) / bins as f64;
    // Whole parts are counted by where they begin and end, so that a long bar costs no more than a short one.
    let mut whole = vec![0.0; bins + 1];
    let mut partly = vec![0.0; bins];
    for (start, end, weight) in spans {
        let (start, end) = ((start / width).max(0.0), (end / width).min(bins as f64));
        let (first, last) = (start.floor() as usize, end.floor() as usize);
        let add = |list: &mut Vec<f64>, at: usize, value: f64| {
            if let Some(slot) = list.get_mut(at) {
                *slot += value;
            }
        };
        if first == last {
            add(&mut partly, first, weight * (end - start).max(0.0));
            continue;
        }
        add(&mut partly, first, weight * (first as f64 + 1.0 - start));
        add(&mut partly, last, weight * (end - last as f64));
        add(&mut whole, first + 1, weight);
        add(&mut whole, last, -weight);
    }
    let mut running = 0.0;
    whole
        .iter()
        .zip(partly)
        .map(|(change, part)| {
            running += change;
            // What floating point leaves over is nothing.
            let load: f64 = running + part;
            if load < 1e-9 { 0.0 } else { load }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bar(row: usize, start: f64, end: f64) -> Bar {
        let label = format!("task[{start}]");
        Bar { row, class: "c0".to_owned(), start, end, title: label.clone(), label, failed: false, marked: false }
    }

    #[test]
    fn lanes_are_used_again() {
        let bars = [bar(0, 0.0, 5.0), bar(0, 1.0, 2.0), bar(0, 2.0, 3.0), bar(0, 6.0, 7.0)];
        assert_eq!(assign(&by_start(&bars)), (vec![0, 1, 1, 0], 2));
        assert_eq!(lane_count(&bars), 2);
    }

    #[test]
    fn bars_say_what_they_are() {
        let mut bars = vec![bar(0, 0.0, 50.0), bar(0, 10.0, 10.01)];
        bars[0].failed = true;
        bars[1].marked = true;
        bars[0].label = "<script>".to_owned();
        let chart = lanes(&bars, 100.0, "timeline");
        assert!(chart.contains("class=\"c0 failed\"") && chart.contains("class=\"c0 marked\""), "{chart}");
        assert!(chart.contains(">&lt;script&gt;</text>") && !chart.contains("<script>"), "{chart}");
    }

    #[test]
    fn ten_thousand_bars_stay_small() {
        let bars: Vec<Bar> =
            (0..10_000).map(|n| bar(n % 4, f64::from(n as u32) / 10.0, f64::from(n as u32) / 10.0 + 3.0)).collect();
        let rows: Vec<(String, String)> = (0..4).map(|n| (format!("task{n}"), format!("c{n}"))).collect();
        let chart = strips(&bars, &rows, 1003.0, "timeline");
        assert!(chart.len() < 60_000, "{}", chart.len());
        assert!(chart.contains("7.5 at a time"), "{chart}");
    }

    proptest! {
        #[test]
        fn load_keeps_the_area(bars in prop::collection::vec((0.0f64..90.0, 0.0f64..30.0), 0..40), bins in 1usize..60) {
            let bars: Vec<Bar> = bars.into_iter().map(|(start, length)| bar(0, start, (start + length).min(100.0))).collect();
            let load = load(bars.iter().map(|bar| (bar.start, bar.end, 2.0)), 100.0, bins);
            let area: f64 = load.iter().sum::<f64>() * 100.0 / bins as f64;
            let expected: f64 = bars.iter().map(|bar| (bar.end - bar.start) * 2.0).sum();
            prop_assert!((area - expected).abs() < 1e-6 * (1.0 + expected), "{area} {expected}");
            prop_assert!(load.len() == bins);
        }

        #[test]
        fn bars_of_a_lane_do_not_overlap(bars in prop::collection::vec((0.0f64..90.0, 0.001f64..30.0), 0..40)) {
            let bars: Vec<Bar> = bars.into_iter().map(|(start, length)| bar(0, start, start + length)).collect();
            let sorted = by_start(&bars);
            let (lanes, count) = assign(&sorted);
            for (index, a) in sorted.iter().enumerate() {
                prop_assert!(lanes[index] < count);
                for (other, b) in sorted.iter().enumerate().skip(index + 1) {
                    prop_assert!(lanes[index] != lanes[other] || a.end <= b.start + 1e-6);
                }
            }
        }
    }
}
