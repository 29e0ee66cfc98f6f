//! What people ask for, as each dialect reads it: in options of a submission and in the lines of a script that speak to it.
//!
//! A bare number is what tells the dialects apart most: of time minutes in Slurm and seconds elsewhere, of memory MiB in Slurm and
//! bytes elsewhere.

use crate::model::batch::Flavour;
use crate::model::units::{Bytes, Walltime};

/// Reads a walltime; none of what the dialect would not understand, and of what is no limit.
pub fn time(flavour: Flavour, text: &str) -> Option<Walltime> {
    match flavour {
        Flavour::Slurm => minutes(text),
        Flavour::Pbs | Flavour::Sge => seconds(text),
    }
}

/// Reads an amount of memory; none of what the dialect would not understand, and of none at all.
pub fn memory(flavour: Flavour, text: &str) -> Option<Bytes> {
    match flavour {
        Flavour::Slurm => text.parse::<u64>().map_or_else(|_| text.parse().ok(), |mib| Some(Bytes::mib(mib))),
        Flavour::Pbs => words(text),
        Flavour::Sge => multiplied(text),
    }
}

/// Slurm: a bare number is minutes, `A:B` minutes and seconds, `A-B` days and hours.
fn minutes(text: &str) -> Option<Walltime> {
    let numbers = |text: &str| text.split(':').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>();
    let (days, rest) = text.split_once('-').map_or((None, text), |(days, rest)| (Some(days), rest));
    let Some(days) = days else {
        return match numbers(rest)?.as_slice() {
            [minutes] => Some(Walltime(minutes.checked_mul(60)?)),
            _ => text.parse().ok(),
        };
    };
    let parts = numbers(rest).filter(|parts| parts.len() <= 3)?;
    let mut seconds = days.parse::<u64>().ok()?.checked_mul(86_400)?;
    for (part, unit) in parts.iter().zip([3_600, 60, 1]) {
        seconds = seconds.checked_add(part.checked_mul(unit)?)?;
    }
    Some(Walltime(seconds))
}

/// PBS and Grid Engine: `[[HH:]MM:]SS`, where a field that is left out is 0.
fn seconds(text: &str) -> Option<Walltime> {
    let fields: Vec<u64> = text
        .split(':')
        .map(|field| if field.is_empty() { Some(0) } else { field.parse().ok() })
        .collect::<Option<_>>()?;
    if text.is_empty() || fields.len() > 4 {
        return None;
    }
    // A fourth field counts days (Torque).
    let scales = [1, 60, 3600, 86_400];
    let parts = fields.iter().rev().zip(scales).map(|(field, scale)| field.checked_mul(scale));
    let sum = parts.into_iter().try_fold(0u64, |sum, part| sum.checked_add(part?))?;
    (sum > 0).then_some(Walltime(sum))
}

/// PBS: `2gb`, `1500m`, `1000` bytes; `100mw` counts words of eight bytes.
fn words(text: &str) -> Option<Bytes> {
    let (text, scale) = match text.strip_suffix(['w', 'W']) {
        Some(words) => (words, 8),
        None => (text, 1),
    };
    text.parse::<Bytes>().ok().and_then(|bytes| bytes.0.checked_mul(scale)).filter(|&bytes| bytes > 0).map(Bytes)
}

/// Grid Engine: `4G` is 4 GiB, `4g` is 4,000,000,000 bytes, and so on.
fn multiplied(text: &str) -> Option<Bytes> {
    let decimal = match text.chars().next_back()? {
        'k' => Some(1_000u64),
        'm' => Some(1_000_000),
        'g' => Some(1_000_000_000),
        't' => Some(1_000_000_000_000),
        _ => None,
    };
    let bytes = match decimal {
        Some(scale) => (text.get(..text.len() - 1)?.parse::<f64>().ok()? * scale as f64) as u64,
        None => text.parse::<Bytes>().ok()?.0,
    };
    (bytes > 0).then_some(Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_dialect_reads_them() {
        for (text, slurm, others) in [
            ("90", Some(5400), Some(90)),
            ("36000", Some(2_160_000), Some(36_000)),
            ("1:30", Some(90), Some(90)),
            ("48:00:00", Some(172_800), Some(172_800)),
            ("1-12", Some(129_600), None),
            ("1-00:30:00", Some(88_200), None),
            ("::30", None, Some(30)),
            ("1::", None, Some(3600)),
            ("1:00:00:00", None, Some(86_400)),
            ("1:2:3:4:5", None, None),
            ("", None, None),
            ("0", Some(0), None),
            ("1h", None, None),
            ("UNLIMITED", None, None),
            ("INFINITY", None, None),
            ("18446744073709551615", None, Some(u64::MAX)),
            ("18446744073709551615:0", None, None),
            ("307445734561825860:18446744073709551615", None, None),
        ] {
            let read = |flavour| time(flavour, text).map(|time| time.0);
            assert_eq!(read(Flavour::Slurm), slurm, "{text}");
            assert_eq!((read(Flavour::Pbs), read(Flavour::Sge)), (others, others), "{text}");
        }
    }

    #[test]
    fn memory_is_read_as_the_dialect_reads_it() {
        const G: u64 = 1 << 30;
        for (text, slurm, pbs, sge) in [
            ("4000", Some(4000 << 20), Some(4000), Some(4000)),
            ("4G", Some(4 * G), Some(4 * G), Some(4 * G)),
            ("4g", Some(4 * G), Some(4 * G), Some(4_000_000_000)),
            ("1t", Some(1024 * G), Some(1024 * G), Some(1_000_000_000_000)),
            ("512k", Some(512 << 10), Some(512 << 10), Some(512_000)),
            ("16gb", Some(16 * G), Some(16 * G), Some(16 * G)),
            ("100mw", None, Some(800 << 20), None),
            ("8w", None, Some(64), None),
            ("8b", Some(8), Some(8), Some(8)),
            ("", None, None, None),
            ("-1G", None, None, None),
            ("é", None, None, None),
        ] {
            let read = |flavour| memory(flavour, text).map(|memory| memory.0);
            assert_eq!((read(Flavour::Slurm), read(Flavour::Pbs), read(Flavour::Sge)), (slurm, pbs, sge), "{text}");
        }
    }
}
