//! Tables with a delimiter, and the times in them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::units::Timestamp;

/// A table whose first line names its columns, with one column of free text, which alone may hold the delimiter.
#[derive(Clone, Debug)]
pub(super) struct Header<'a> {
    columns: Vec<&'a str>,
    free: Option<usize>,
}

impl<'a> Header<'a> {
    /// Reads the header line.
    pub(super) fn read(line: &'a str, free: &str) -> Self {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        Self { free: columns.iter().position(|column| *column == free), columns }
    }

    /// Returns where a column stands.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| *column == name)
    }

    /// Splits a row; none where it is not one of this table (a name with a line end spills into the next line).
    pub(super) fn row<'r>(&self, line: &'r str, cells: &mut Vec<&'r str>) -> Option<()> {
        cells.clear();
        cells.extend(line.split('|'));
        let extra = cells.len().checked_sub(self.columns.len())?;
        if extra > 0 {
            let free = self.free?;
            let before: usize = cells.iter().take(free).map(|cell| cell.len() + 1).sum();
            let length: usize = cells.iter().skip(free).take(extra + 1).map(|cell| cell.len() + 1).sum();
            let joined = line.get(before..before + length - 1)?;
            cells.splice(free..=free + extra, [joined]);
        }
        Some(())
    }
}

/// Reads a time as ISO 8601 without a zone: commands are run with `TZ=UTC0`.
pub(super) fn iso_time(text: &str) -> Option<Timestamp> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    utc(text.parse().ok()?)
}

/// Reads a time as `ctime` prints it: `Sat Nov 21 02:46:32 2026`.
pub(super) fn c_time(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_ascii_whitespace().skip(1);
    let name = words.next()?;
    let month = 1 + MONTHS.iter().position(|month| *month == name)?;
    let day = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|field| field.parse::<i8>().ok());
    let mut next = || clock.next().flatten();
    let (hour, minute, second) = (next()?, next()?, next()?);
    let year = words.next()?.parse().ok()?;
    utc(DateTime::new(year, i8::try_from(month).ok()?, day, hour, minute, second, 0).ok()?)
}

fn utc(time: DateTime) -> Option<Timestamp> {
    Some(Timestamp(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn free_text_may_hold_the_delimiter_wherever_it_stands() {
        for (header, line, name) in [
            ("ID|NAME|STATE", "1|we|ird|R", Some("we|ird")),
            ("ID|STATE|NAME", "1|R|a|b|", Some("a|b|")),
            ("NAME|ID", "|x|7", Some("|x")),
            ("ID|NAME|STATE", "1|a|R", Some("a")),
            ("ID|NAME|STATE", "1|a", None),
        ] {
            let header = Header::read(header, "NAME");
            let mut cells = Vec::new();
            let found = header.row(line, &mut cells).and_then(|()| cells.get(header.find("NAME")?).copied());
            assert_eq!(found, name, "{line}");
        }
        let plain = Header::read("ID|STATE", "NAME");
        assert_eq!(plain.row("1|R|x", &mut Vec::new()), None);
    }

    #[test]
    fn times_of_both_kinds() {
        assert_eq!(iso_time("2026-11-21T03:18:19"), c_time("Sat Nov 21 03:18:19 2026"));
        assert_eq!(iso_time("1970-01-02T00:00:01"), Some(Timestamp(86_401_000_000)));
        for none in ["N/A", "Unknown", "None", "", "2026", "-/-", "Sat Nov 31 03:18:19 2026"] {
            assert_eq!((iso_time(none), c_time(none)), (None, None), "{none}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(?s).{0,200}", header in "[A-Z|]{0,10}") {
            let _ = (iso_time(&text), c_time(&text));
            let _ = Header::read(&header, "A").row(&text, &mut Vec::new());
        }
    }
}
