//! How much of something was in use over time, stacked by what used it.

use std::fmt::Write as _;

use crate::cli::chart::axis::{Unit, ticks};
use crate::cli::chart::{Anchor, Svg, WIDTH, short};

const LEFT: f64 = 48.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const HEIGHT: f64 = 150.0;

/// One user of a stacked chart.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct Layer {
    /// Its class: the color.
    pub(in crate::cli) class: String,
    /// Its share in each of the equal parts of the time.
    pub(in crate::cli) values: Vec<f64>,
}

/// Draws layers over a time of some seconds, with a line at what there is.
pub(in crate::cli) fn area(layers: &[Layer], seconds: f64, capacity: Option<f64>, label: &str) -> String {
    let mut svg = Svg::new();
    let bins = layers.iter().map(|layer| layer.values.len()).max().unwrap_or(0);
    let total = |bin: usize| layers.iter().filter_map(|layer| layer.values.get(bin)).sum::<f64>();
    let most = (0..bins).map(total).fold(capacity.unwrap_or(0.0), f64::max).max(1e-9);
    let (width, bottom) = (WIDTH - LEFT - RIGHT, TOP + HEIGHT);
    let y = |value: f64| bottom - value / most * HEIGHT;
    for (value, words) in ticks(Unit::Count, most, 4) {
        svg.line((LEFT, y(value)), (WIDTH - RIGHT, y(value)), "grid");
        svg.text((LEFT - 6.0, y(value) + 4.0), Anchor::End, "tick", &words);
    }
    svg.time_axis(LEFT, (TOP, bottom), width / seconds.max(1e-9), &ticks(Unit::Seconds, seconds, 8));
    let x = |bin: usize| LEFT + width * bin as f64 / bins.max(1) as f64;
    let mut floor = vec![0.0; bins];
    for layer in layers {
        let ceiling: Vec<f64> =
            floor.iter().enumerate().map(|(bin, low)| low + layer.values.get(bin).copied().unwrap_or(0.0)).collect();
        if ceiling != floor {
            svg.path(&outline(&floor, &ceiling, x, y), &layer.class);
        }
        floor = ceiling;
    }
    if let Some(capacity) = capacity {
        svg.line((LEFT, y(capacity)), (WIDTH - RIGHT, y(capacity)), "limit");
    }
    svg.finish(bottom + 24.0, label)
}

/// Returns the outline of a layer: steps along its top, and back along its bottom.
fn outline(floor: &[f64], ceiling: &[f64], x: impl Fn(usize) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut data = String::new();
    let mut last = f64::NAN;
    for (bin, &value) in ceiling.iter().enumerate() {
        if data.is_empty() {
            data = format!("M{} {}", short(x(bin)), short(y(value)));
        } else if value.total_cmp(&last).is_ne() {
            let _ = write!(data, "H{}V{}", short(x(bin)), short(y(value)));
        }
        last = value;
    }
    let _ = write!(data, "H{}", short(x(ceiling.len())));
    last = f64::NAN;
    for (bin, &value) in floor.iter().enumerate().rev() {
        if value.total_cmp(&last).is_ne() {
            let _ = write!(data, "H{}V{}", short(x(bin + 1)), short(y(value)));
        }
        last = value;
    }
    let _ = write!(data, "H{}Z", short(x(0)));
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_stand_on_each_other() {
        let layer = |class: &str, values: &[f64]| Layer { class: class.to_owned(), values: values.to_vec() };
        let chart = area(&[layer("c0", &[1.0, 1.0, 0.0]), layer("c1", &[1.0, 0.0, 0.0])], 60.0, Some(4.0), "cores");
        // Four cores are 150 high: a core is 37.5.
        assert!(chart.contains("<path class=\"c0\" d=\"M48 124.5H648V162H948H948V162H48Z\"/>"), "{chart}");
        assert!(
            chart.contains("<path class=\"c1\" d=\"M48 87H348V124.5H648V162H948H948V162H648V124.5H48Z\"/>"),
            "{chart}"
        );
        assert!(chart.contains("class=\"limit\" x1=\"48\" y1=\"12\""), "{chart}");
    }

    #[test]
    fn nothing_at_all_is_still_a_chart() {
        let chart = area(&[], 0.0, None, "nothing");
        assert!(chart.starts_with("<svg") && !chart.contains("NaN"), "{chart}");
    }
}
