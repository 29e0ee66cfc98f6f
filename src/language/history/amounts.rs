//! Amounts as the different reports spell them.

/// Reads bytes: `3568K`, `1.2 GB`, `512.000M`, plain numbers in the unit that the report uses.
pub(super) fn bytes(text: &str, unit: f64) -> Option<f64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let scale = match suffix.trim().as_bytes().first() {
        None => unit,
        Some(b'B' | b'b') => 1.0,
        Some(b'K' | b'k') => 1024.0,
        Some(b'M' | b'm') => 1_048_576.0,
        Some(b'G' | b'g') => 1_073_741_824.0,
        Some(b'T' | b't') => 1_099_511_627_776.0,
        Some(_) => return None,
    };
    sound(number * scale)
}

/// Reads a time of day's form: `[D-][HH:]MM:SS[.mmm]`.
pub(super) fn clock(text: &str) -> Option<f64> {
    let (days, rest) = match text.trim().split_once('-') {
        Some((days, rest)) => (days.parse::<f64>().ok()?, rest),
        None => (0.0, text.trim()),
    };
    let mut seconds = 0.0;
    for part in rest.split(':') {
        seconds = seconds * 60.0 + part.parse::<f64>().ok()?;
    }
    sound(days * 86_400.0 + seconds)
}

/// Reads a duration as Nextflow writes it: `1h 2m 3s`, `350ms`, or plain milliseconds.
pub(super) fn spans(text: &str) -> Option<f64> {
    if let Ok(milliseconds) = text.trim().parse::<f64>() {
        return sound(milliseconds / 1e3);
    }
    let mut seconds = 0.0;
    for word in text.split_whitespace() {
        let split = word.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = word.split_at(split);
        let scale = match unit {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
    }
    sound(seconds)
}

/// Reads a point in time, `2026-11-21T03:23:19` or `2026-11-21 03:23:19`, as minutes since 1970. Its zone is not told; nobody
/// minds a few hours here.
pub(super) fn minutes(text: &str) -> Option<u32> {
    u32::try_from(civil(text)?.div_euclid(60)).ok()
}

/// A point in time as the clocks of some place show it: seconds since 1970 there and, where that is told, how far they are ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Seconds.
    pub(super) seconds: i64,
    /// Seconds east of Greenwich.
    pub(super) ahead: Option<i32>,
}

impl Moment {
    /// Returns the seconds since 1970 in Greenwich where the zone is told; else there.
    pub(super) fn order(self) -> i64 {
        self.seconds - i64::from(self.ahead.unwrap_or(0))
    }
}

/// Reads a point in time to the second: as [`minutes`] does, `+0100` behind it where the zone is told; `11/21/2026 03:23:19` and
/// `Sat Nov 21 03:23:19 2026`, as the kinds of Grid Engine write it.
pub(super) fn moment(text: &str) -> Option<Moment> {
    let text = text.trim();
    let told = |seconds| Moment { seconds, ahead: None };
    match text.as_bytes() {
        [a, b, c, d, b'-', ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) => {
            let ahead = text.get(19..).and_then(|rest| {
                let sign = if rest.starts_with('+') { 1 } else { -1 };
                let digits = rest.strip_prefix(['+', '-']).filter(|digits| digits.len() == 4)?;
                let number: i32 = digits.parse().ok()?;
                Some(sign * (number / 100 * 3600 + number % 100 * 60))
            });
            Some(Moment { ahead, ..told(civil(text)?) })
        }
        [_, _, b'/', ..] => {
            let (month, day, rest) = (text.get(..2)?, text.get(3..5)?, text.get(6..)?);
            let (year, clock) = rest.split_once(' ')?;
            civil(&format!("{year}-{month}-{day}T{clock}")).map(told)
        }
        _ => {
            const MONTHS: [&str; 12] =
                ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let mut words = text.split_ascii_whitespace().skip(1);
            let (month, day, clock, year) = (words.next()?, words.next()?, words.next()?, words.next()?);
            let month = 1 + MONTHS.iter().position(|name| *name == month)?;
            civil(&format!("{year}-{month:02}-{day:0>2}T{clock}")).map(told)
        }
    }
}

/// Reads `2026-11-21T03:23:19`, with or without its seconds, as seconds since 1970.
fn civil(text: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute) = (digits(11, 13)?, digits(14, 16)?);
    let second = digits(17, 19).unwrap_or(0);
    let is_one = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..24).contains(&hour);
    if !is_one || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    // Days since 1970 of the civil calendar, with the year beginning in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = shifted.div_euclid(400) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Refuses what is no amount of anything.
fn sound(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then_some(value)
}
