//! Ticks where people expect them: 0, 10, 20; 0s, 30s, 1m; 1M, 10M.

use crate::model::units::{Bytes, Walltime};

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Unit {
    /// Plain numbers.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// Steps between ticks of a time axis, seconds; below and beyond, steps of 1, 2 and 5 times a power of ten.
const TIME_STEPS: [f64; 21] = [
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    900.0,
    1800.0,
    3600.0,
    7200.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    604_800.0,
    1_209_600.0,
];

/// Ticks of a logarithmic time axis.
const TIME_DECADES: [f64; 11] = [0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36_000.0, 345_600.0, 3_456_000.0];

/// Returns at most `count` ticks from 0 to `max`, with their words.
pub(super) fn ticks(unit: Unit, max: f64, count: usize) -> Vec<(f64, String)> {
    if !max.is_finite() || max <= 0.0 {
        return vec![(0.0, words(unit, 0.0))];
    }
    let step = step(unit, max / count.max(1) as f64);
    let last = (max / step + 1e-9).floor() as u32;
    (0..=last).map(|n| f64::from(n) * step).map(|value| (value, words(unit, value))).collect()
}

/// Returns the ticks of a logarithmic axis from `min` to `max`, both above 0.
pub(super) fn log_ticks(unit: Unit, min: f64, max: f64) -> Vec<(f64, String)> {
    let decades: Vec<f64> = match unit {
        Unit::Seconds => TIME_DECADES.to_vec(),
        Unit::Count => (0..16).map(|n| 10f64.powi(n)).collect(),
        Unit::Bytes => (0..24).map(|n| 4f64.powi(n) * 1024.0).collect(),
    };
    let inside = decades.into_iter().filter(|value| (min * 0.999..=max * 1.001).contains(value));
    inside.map(|value| (value, words(unit, value))).collect()
}

/// Returns the smallest good step that is not below `least`.
fn step(unit: Unit, least: f64) -> f64 {
    if unit == Unit::Bytes {
        return 2f64.powf(least.max(1.0).log2().ceil());
    }
    if unit == Unit::Seconds
        && least > 0.5
        && let Some(step) = TIME_STEPS.into_iter().find(|&step| step >= least)
    {
        return step;
    }
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|&step| step >= least * (1.0 - 1e-9));
    let step = step.unwrap_or(10.0 * power);
    if unit == Unit::Count { step.max(1.0) } else { step }
}

/// Returns a value of an axis in words.
fn words(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Count => short(value),
        Unit::Bytes => {
            if value < 1.0 {
                "0".to_owned()
            } else {
                Bytes(value as u64).to_string()
            }
        }
        Unit::Seconds if value <= 0.0 => "0s".to_owned(),
        Unit::Seconds if value < 0.9995 => format!("{}ms", short(value * 1000.0)),
        Unit::Seconds if value < 10.0 && value.fract() > 1e-6 => format!("{}s", short(value)),
        Unit::Seconds => Walltime(value.round() as u64).to_string(),
    }
}

fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(ticks: &[(f64, String)]) -> Vec<&str> {
        ticks.iter().map(|(_, words)| words.as_str()).collect()
    }

    #[test]
    fn ticks_are_where_people_expect_them() {
        for (unit, max, expected) in [
            (Unit::Count, 7.0, vec!["0", "2", "4", "6"]),
            (Unit::Count, 0.5, vec!["0"]),
            (Unit::Count, 1234.0, vec!["0", "500", "1000"]),
            (Unit::Seconds, 0.02, vec!["0s", "5ms", "10ms", "15ms", "20ms"]),
            (Unit::Seconds, 1.9, vec!["0s", "500ms", "1s", "1.5s"]),
            (Unit::Seconds, 100.0, vec!["0s", "30s", "1m", "1m30s"]),
            (Unit::Seconds, 5000.0, vec!["0s", "30m", "1h"]),
            (Unit::Seconds, 300_000.0, vec!["0s", "1d", "2d", "3d"]),
            (Unit::Bytes, 3e9, vec!["0", "1G", "2G"]),
            (Unit::Bytes, 3e6, vec!["0", "1M", "2M"]),
            (Unit::Count, f64::NAN, vec!["0"]),
        ] {
            assert_eq!(labels(&ticks(unit, max, 4)), expected, "{max}");
        }
    }

    #[test]
    fn logarithmic_ticks() {
        assert_eq!(labels(&log_ticks(Unit::Seconds, 0.01, 4000.0)), ["10ms", "100ms", "1s", "10s", "1m", "10m", "1h"]);
        assert_eq!(labels(&log_ticks(Unit::Bytes, 1e6, 1e9)), ["1M", "4M", "16M", "64M", "256M"]);
    }

    proptest! {
        #[test]
        fn ticks_are_few_and_inside(max in 1e-4f64..1e9, count in 2usize..12) {
            for unit in [Unit::Count, Unit::Seconds, Unit::Bytes] {
                let ticks = ticks(unit, max, count);
                prop_assert!(ticks.len() <= count + 1, "{ticks:?}");
                prop_assert!(ticks.iter().all(|(value, _)| (0.0..=max * 1.0001).contains(value)), "{ticks:?}");
                prop_assert!(ticks.windows(2).all(|pair| pair[0].1 != pair[1].1), "{ticks:?}");
            }
        }
    }
}
