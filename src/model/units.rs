//! Bytes, walltime and points in time, with the spellings that people and batch systems use.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The text is not a quantity of the expected unit; says what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}; write {example}")]
pub struct BadUnit {
    /// What was given.
    pub text: String,
    what: &'static str,
    example: &'static str,
}

/// A number of bytes. `8G` is 8 GiB, as in Slurm: suffixes K, M, G, T, P are powers of 1024, with or without `B` or `iB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Makes a number of MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// Makes a number of GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// Prints it without rounding, to be read again: its display rounds `1152M` to `1.1G`.
    pub fn exactly(self) -> String {
        let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        let unit = units.iter().find(|(shift, _)| self.0 > 0 && self.0.is_multiple_of(1 << shift));
        unit.map_or_else(|| self.0.to_string(), |(shift, unit)| format!("{}{unit}", self.0 >> shift))
    }

    /// Multiplies by a factor, saturating; a factor that is not a positive number changes nothing.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        if factor.is_finite() && factor > 0.0 { Self((self.0 as f64 * factor) as u64) } else { self }
    }
}

impl FromStr for Bytes {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let bad = || BadUnit {
            text: text.to_owned(),
            what: "an amount of memory or disk",
            example: "a number with a unit, such as \"512M\" or \"8G\" (8 GiB)",
        };
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let unit = unit.trim().to_ascii_lowercase();
        let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
        let shift = match unit {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            "p" => 50,
            _ => return Err(bad()),
        };
        let scale = 1u64 << shift;
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(scale).map(Self).ok_or_else(bad);
        }
        let value: f64 = number.parse().map_err(|_| bad())?;
        let bytes = value * scale as f64;
        if bytes.is_finite() && bytes >= 0.0 && bytes < u64::MAX as f64 { Ok(Self(bytes as u64)) } else { Err(bad()) }
    }
}

impl fmt::Display for Bytes {
    /// Prints the largest unit that leaves at least 1, with one decimal where it is not whole: `8G`, `1.5G`, `300K`, `12B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = ["P", "T", "G", "M", "K"].iter().zip([50u32, 40, 30, 20, 10]).find_map(|(unit, shift)| {
            let scale = 1u64 << shift;
            if self.0 < scale {
                return None;
            }
            Some(if self.0.is_multiple_of(scale) {
                format!("{}{unit}", self.0 / scale)
            } else {
                format!("{:.1}{unit}", self.0 as f64 / scale as f64)
            })
        });
        f.pad(&text.unwrap_or_else(|| format!("{}B", self.0)))
    }
}

/// What something costs, in millionths of whatever people count in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Price(pub u64);

impl Price {
    /// Makes a price of a number; none of one that is negative, beyond a billion, or no number.
    pub fn of(value: f64) -> Option<Self> {
        (0.0..=1e9).contains(&value).then(|| Self((value * 1e6).round() as u64))
    }

    /// Returns it as a number.
    pub const fn value(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.value().to_string())
    }
}

/// A limit on run time, in whole seconds. Reads `1h30m`, `90s`, `01:30:00`, `1-12:00:00` (days) and plain seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Walltime(pub u64);

impl Walltime {
    /// Returns the limit as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// Multiplies by a factor, rounding up to a whole second; a factor that is not a positive number changes nothing.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        if factor.is_finite() && factor > 0.0 { Self((self.0 as f64 * factor).ceil() as u64) } else { self }
    }

    fn from_clock(text: &str) -> Option<u64> {
        let (days, clock) = match text.split_once('-') {
            Some((days, clock)) => (days.parse::<u64>().ok()?, clock),
            None => (0, text),
        };
        let fields: Vec<u64> = clock.split(':').map(|field| field.parse().ok()).collect::<Option<_>>()?;
        // Slurm reads D-HH, D-HH:MM and D-HH:MM:SS, but MM:SS and HH:MM:SS without days.
        let seconds = match (text.contains('-'), fields.as_slice()) {
            (true, [h]) => h.checked_mul(3600)?,
            (true, [h, m]) => h.checked_mul(3600)?.checked_add(m.checked_mul(60)?)?,
            (false, [m, s]) => m.checked_mul(60)?.checked_add(*s)?,
            (_, [h, m, s]) => h.checked_mul(3600)?.checked_add(m.checked_mul(60)?)?.checked_add(*s)?,
            _ => return None,
        };
        days.checked_mul(86_400)?.checked_add(seconds)
    }

    fn from_words(text: &str) -> Option<u64> {
        let mut total = 0u64;
        let mut rest = text.trim();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = rest.get(..digits)?.parse().ok()?;
            rest = rest.get(digits..)?.trim_start();
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let scale = match rest.get(..letters)? {
                "s" | "sec" | "secs" | "second" | "seconds" => 1,
                "m" | "min" | "mins" | "minute" | "minutes" => 60,
                "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
                "d" | "day" | "days" => 86_400,
                "w" | "week" | "weeks" => 604_800,
                _ => return None,
            };
            total = total.checked_add(number.checked_mul(scale)?)?;
            rest = rest.get(letters..)?.trim_start();
        }
        Some(total)
    }
}

impl FromStr for Walltime {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let trimmed = text.trim();
        let seconds = if trimmed.is_empty() {
            None
        } else if let Ok(seconds) = trimmed.parse::<u64>() {
            Some(seconds)
        } else if trimmed.contains(':') || trimmed.contains('-') {
            Self::from_clock(trimmed)
        } else {
            Self::from_words(trimmed)
        };
        seconds.map(Self).ok_or_else(|| BadUnit {
            text: text.to_owned(),
            what: "a length of time",
            example: "\"90s\", \"1h30m\", \"01:30:00\" or \"1-12:00:00\"",
        })
    }
}

impl fmt::Display for Walltime {
    /// Prints every unit that is not zero, largest first: `1d12h`, `1h30m`, `45s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.0 / 86_400, 'd'), (self.0 / 3600 % 24, 'h'), (self.0 / 60 % 60, 'm'), (self.0 % 60, 's')];
        let words: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
        f.pad(if words.is_empty() { "0s".to_owned() } else { words.concat() }.as_str())
    }
}

/// A point in time: microseconds since 1970-01-01 UTC. Printed as ISO 8601.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the time that passed since an earlier point; zero when the clock went back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns the point a duration later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
            Ok(Self(time.as_microsecond()))
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_read_what_people_write() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("8G", 8 << 30),
            ("8GB", 8 << 30),
            ("8 GiB", 8 << 30),
            ("1.5g", 3 << 29),
            ("512m", 512 << 20),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for bad in ["", "G", "8X", "-1G", "1e3", "99999999999P", "8 G B"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn walltime_reads_what_people_and_slurm_write() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("1h30m", 5400),
            ("1 h 30 min", 5400),
            ("2d", 172_800),
            ("01:30:00", 5400),
            ("05:30", 330),
            ("1-12:00:00", 129_600),
            ("1-12", 129_600),
            ("1-12:30", 131_400),
        ] {
            assert_eq!(text.parse(), Ok(Walltime(seconds)), "{text}");
        }
        for bad in ["", "h", "1x", "1:2:3:4", "-5", "1h30", "1.5h"] {
            assert!(bad.parse::<Walltime>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn walltime_prints_what_it_reads(seconds in 0u64..10_000_000) {
            prop_assert_eq!(Walltime(seconds).to_string().parse(), Ok(Walltime(seconds)));
        }

        #[test]
        fn whole_units_of_bytes_round_trip(n in 1u64..1023, shift in prop::sample::select(vec![0u32, 10, 20, 30, 40])) {
            let bytes = Bytes(n << shift);
            prop_assert_eq!(bytes.to_string().parse(), Ok(bytes));
        }

        #[test]
        fn bytes_that_are_printed_exactly_are_read_as_they_were(n in 0u64..1 << 20, shift in 0u32..44) {
            let bytes = Bytes(n << shift);
            prop_assert_eq!(bytes.exactly().parse(), Ok(bytes));
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _bytes = text.parse::<Bytes>();
            let _time = text.parse::<Walltime>();
        }

        #[test]
        fn timestamps_round_trip_to_the_millisecond(millis in -60_000_000_000_000i64..200_000_000_000_000) {
            let time = Timestamp(millis * 1000);
            let json = serde_json::to_string(&time).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
        }
    }
}
