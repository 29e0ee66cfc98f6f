//! `csync profile show --plot`: what was seen and what is predicted, over input size, for a terminal, as SVG, PNG and
//! HTML.

use std::fmt::Write as _;

use crate::cli::chart::{Canvas, Color, TextAnchor};
use crate::cli::profile::classes::Classes;
use crate::cli::view::words::duration;
use crate::decide::learn::profile::{Prediction, Question};
use crate::model::observation::Cut;
use crate::model::units::Bytes;
use crate::reach::learned::Entry;

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    Memory,
    Time,
    Io,
}

impl Quantity {
    const fn title(self) -> &'static str {
        match self {
            Self::Memory => "peak memory",
            Self::Time => "run time",
            Self::Io => "bytes read and written",
        }
    }

    fn words(self, value: f64) -> String {
        match self {
            Self::Memory | Self::Io => Bytes(value as u64).to_string(),
            Self::Time => duration(value),
        }
    }
}

/// One class of hosts.
#[derive(Clone, Debug, Default)]
struct Series {
    name: String,
    /// Input size and value; whether it was cut short.
    points: Vec<(f64, f64, bool)>,
    /// Input size, low, high, request.
    band: Vec<(f64, f64, f64, f64)>,
}

/// What was seen of a command and is predicted, by class of hosts.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    title: String,
    quantity: Quantity,
    series: Vec<Series>,
    /// Whether inputs differ in size; else attempts stand in the order of their ends.
    sized: bool,
    /// Ends of the axes.
    x: (f64, f64),
    most: f64,
}

/// Steps of a band.
const STEPS: u32 = 48;
/// Classes of hosts that are told apart.
const CLASSES: usize = 4;
/// Units of a drawing: its sides, and the room left of it and below.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 80.0;
const BOTTOM: f64 = 60.0;
const MARKS: [char; CLASSES] = ['o', 'x', '+', '*'];
const COLORS: [&str; CLASSES] = ["#0a7a5a", "#2a5db0", "#b05a00", "#8a2a8a"];

impl Plot {
    /// Gathers what is drawn; none when nothing was measured.
    pub(super) fn of(title: &str, (entries, classes): (&[Entry], &Classes), quantity: Quantity) -> Option<Self> {
        let seen = |entry: &Entry| -> Vec<(f64, f64, bool)> {
            let value = |seen: &crate::model::observation::Observation| match quantity {
                Quantity::Memory => f64::from(seen.memory),
                Quantity::Time => f64::from(seen.wall),
                Quantity::Io => f64::from(seen.io),
            };
            let points = entry.profile.summary().kept();
            points
                .map(|(seen, _)| (f64::from(seen.input), value(seen), seen.cut != Cut::Nothing))
                .filter(|p| p.1 > 0.0)
                .collect()
        };
        let mut series: Vec<Series> = entries
            .iter()
            .map(|entry| Series { name: classes.name(entry.class), points: seen(entry), band: Vec::new() })
            .collect();
        let all = || series.iter().flat_map(|series| &series.points);
        let low = all().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let high = all().map(|point| point.0).fold(0.0, f64::max);
        let mut most = all().map(|point| point.1).fold(0.0, f64::max);
        if !low.is_finite() || most <= 0.0 {
            return None;
        }
        let sized = high > low;
        if !sized {
            for series in &mut series {
                series.points.iter_mut().zip(1_u32..).for_each(|(point, nth)| point.0 = f64::from(nth));
            }
        }
        let longest = series.iter().map(|series| series.points.len()).max().unwrap_or(1);
        let x = if sized { (low, high) } else { (1.0, longest.max(2) as f64) };
        for (series, entry) in series.iter_mut().zip(entries) {
            let places: Vec<f64> =
                (0..=STEPS).map(|step| x.0 + (x.1 - x.0) * f64::from(step) / f64::from(STEPS)).collect();
            let inputs = places.iter().map(|at| if sized { *at } else { low });
            let found: Vec<Option<Prediction>> = match quantity {
                Quantity::Memory => inputs.map(|input| entry.profile.memory(Question::plain(input))).collect(),
                Quantity::Time => inputs.map(|input| with_limit(entry, input)).collect(),
                Quantity::Io => entry.profile.io_over(inputs),
            };
            let found = places.iter().zip(found).filter_map(|(at, found)| Some((*at, found?)));
            series.band = found.map(|(at, found)| (at, found.low, found.high, found.request)).collect();
            most = series.band.iter().fold(most, |most, (_, _, high, request)| most.max(*high).max(*request));
        }
        series.retain(|series| !series.points.is_empty());
        series.truncate(CLASSES);
        Some(Self { title: title.to_owned(), quantity, series, sized, x, most: most * 1.05 })
    }

    /// Says where something stands on the axis below.
    fn place(&self, x: f64) -> String {
        if self.sized { Bytes(x as u64).to_string() } else { format!("{x:.0}") }
    }

    /// Says what the axis below is.
    const fn axis(&self) -> &'static str {
        if self.sized { "input" } else { "attempt" }
    }

    /// Draws it with letters: a mark for each attempt, `!` for those cut short, `.` for the interval, `-` for what to ask for.
    pub(super) fn terminal(&self, width: usize) -> String {
        let (left, height) = (9, 14_usize);
        let width = width.clamp(40, 120) - left - 2;
        let mut rows = vec![vec![' '; width]; height];
        let column = |x: f64| (((x - self.x.0) / (self.x.1 - self.x.0)) * (width - 1) as f64).round() as usize;
        let row = |y: f64| (height - 1).saturating_sub(((y / self.most) * (height - 1) as f64).round() as usize);
        let mut put = |x: f64, y: f64, mark: char| {
            if let Some(cell) = rows.get_mut(row(y)).and_then(|row| row.get_mut(column(x))) {
                *cell = mark;
            }
        };
        for series in &self.series {
            for (x, low, high, request) in &series.band {
                put(*x, *low, '.');
                put(*x, *high, '.');
                put(*x, *request, '-');
            }
        }
        for (series, mark) in self.series.iter().zip(MARKS) {
            for (x, y, cut) in &series.points {
                put(*x, *y, if *cut { '!' } else { mark });
            }
        }
        let mut text = format!("{} of {}\n", self.quantity.title(), self.title);
        for (at, row) in rows.iter().enumerate() {
            let label = if at == 0 {
                self.quantity.words(self.most)
            } else if at + 1 == height {
                "0".to_owned()
            } else {
                String::new()
            };
            let row: String = row.iter().collect();
            let _ = writeln!(text, "{label:>left$} |{}", row.trim_end());
        }
        let (from, to) = (self.place(self.x.0), self.place(self.x.1));
        let _ = writeln!(text, "{:>left$} +{}", "", "-".repeat(width));
        let _ = writeln!(
            text,
            "{:>left$}  {from}{to:>rest$}",
            self.axis(),
            rest = width.saturating_sub(from.chars().count())
        );
        for (series, mark) in self.series.iter().zip(MARKS) {
            let _ = writeln!(text, "{:>left$}  {mark} {}", "", series.name);
        }
        let _ = writeln!(text, "{:>left$}  . 80 % interval   - what to ask for   ! cut short", "");
        text
    }

    /// Draws it as what stands in an SVG, with nothing from elsewhere.
    fn drawing(&self) -> String {
        let x = |x: f64| LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - 20.0);
        let y = |y: f64| 30.0 + (1.0 - y / self.most) * (HEIGHT - BOTTOM - 30.0);
        let (title, of) = (self.quantity.title(), escape(&self.title));
        let mut text = format!("<text x=\"{LEFT}\" y=\"18\">{title} of {of}</text>\n");
        for part in 0..=4 {
            let (share, at) = (f64::from(part) / 4.0, self.most * f64::from(part) / 4.0);
            let input = self.x.0 + share * (self.x.1 - self.x.0);
            let _ = writeln!(
                text,
                "<path d=\"M{LEFT} {0:.1}H{1}\" stroke=\"#ddd\"/><text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>\
                 <text x=\"{5:.1}\" y=\"{6}\" text-anchor=\"middle\">{7}</text>",
                y(at),
                WIDTH - 20.0,
                LEFT - 6.0,
                y(at) + 4.0,
                self.quantity.words(at),
                x(input),
                HEIGHT - BOTTOM + 16.0,
                self.place(input),
            );
        }
        for (n, (series, color)) in self.series.iter().zip(COLORS).enumerate() {
            let band = series.band.iter().map(|b| (b.0, b.1)).chain(series.band.iter().rev().map(|b| (b.0, b.2)));
            let band: Vec<String> = band.map(|(at, value)| format!("{:.1},{:.1}", x(at), y(value))).collect();
            let request: Vec<String> = series.band.iter().map(|b| format!("{:.1},{:.1}", x(b.0), y(b.3))).collect();
            let _ = writeln!(
                text,
                "<polygon points=\"{}\" fill=\"{color}\" opacity=\"0.15\"/><polyline points=\"{}\" fill=\"none\" \
                 stroke=\"{color}\" stroke-dasharray=\"5 3\"/>",
                band.join(" "),
                request.join(" ")
            );
            for (at, value, cut) in &series.points {
                let fill = if *cut { "none" } else { color };
                let _ = writeln!(
                    text,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{fill}\" stroke=\"{color}\"/>",
                    x(*at),
                    y(*value)
                );
            }
            let at = LEFT + 160.0 * n as f64;
            let _ = writeln!(
                text,
                "<circle cx=\"{at}\" cy=\"{0}\" r=\"4\" fill=\"{color}\"/><text x=\"{1}\" y=\"{2}\">{3}</text>",
                HEIGHT - 16.0,
                at + 8.0,
                HEIGHT - 12.0,
                escape(&series.name),
            );
        }
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            WIDTH - 20.0,
            HEIGHT - 28.0,
            self.axis()
        );
        text
    }
}

/// Draws all of them below each other as SVG.
pub(super) fn svg(plots: &[Plot]) -> String {
    let height = HEIGHT * plots.len().max(1) as f64;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (plot, top) in plots.iter().zip((0..).map(|nth| f64::from(nth) * HEIGHT)) {
        let _ = writeln!(text, "<g transform=\"translate(0 {top})\">\n{}</g>", plot.drawing());
    }
    text + "</svg>\n"
}

/// Draws all of them below each other as pixels.
pub(super) fn png(plots: &[Plot]) -> Vec<u8> {
    let mut canvas = Canvas::new(WIDTH, HEIGHT * plots.len().max(1) as f64);
    for (plot, top) in plots.iter().zip((0..).map(|nth| f64::from(nth) * HEIGHT)) {
        plot.paint(&mut canvas, top);
    }
    canvas.png()
}

const INK: Color = [0, 0, 0];
const GRID: Color = [221, 221, 221];

impl Plot {
    /// Draws it as [`svg`] does, from `top` on.
    fn paint(&self, canvas: &mut Canvas, top: f64) {
        let x = |x: f64| LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - 20.0);
        let y = |y: f64| top + 30.0 + (1.0 - y / self.most) * (HEIGHT - BOTTOM - 30.0);
        let title = format!("{} of {}", self.quantity.title(), self.title);
        canvas.text((LEFT, top + 18.0), TextAnchor::Start, &title, INK);
        for part in 0..=4 {
            let (share, at) = (f64::from(part) / 4.0, self.most * f64::from(part) / 4.0);
            let input = self.x.0 + share * (self.x.1 - self.x.0);
            canvas.line((LEFT, y(at)), (WIDTH - 20.0, y(at)), 0.5, GRID);
            canvas.text((LEFT - 6.0, y(at) + 4.0), TextAnchor::End, &self.quantity.words(at), INK);
            let place = self.place(input);
            let inside = (place.len() as f64) * 4.0;
            let at = x(input).min(WIDTH - inside);
            canvas.text((at, top + HEIGHT - BOTTOM + 16.0), TextAnchor::Middle, &place, INK);
        }
        for (n, (series, color)) in self.series.iter().zip(COLORS).enumerate() {
            let color = rgb(color);
            let low = series.band.iter().map(|band| (x(band.0), y(band.1)));
            let band: Vec<(f64, f64)> = low.chain(series.band.iter().rev().map(|b| (x(b.0), y(b.2)))).collect();
            canvas.polygon(&band, color, 0.15);
            let request: Vec<(f64, f64)> = series.band.iter().map(|band| (x(band.0), y(band.3))).collect();
            canvas.dashed(&request, color);
            for (at, value, cut) in &series.points {
                canvas.dot((x(*at), y(*value)), 3.0, color, *cut);
            }
            let at = LEFT + 160.0 * n as f64;
            canvas.dot((at, top + HEIGHT - 16.0), 4.0, color, false);
            canvas.text((at + 8.0, top + HEIGHT - 12.0), TextAnchor::Start, &series.name, INK);
        }
        canvas.text((WIDTH - 20.0, top + HEIGHT - 28.0), TextAnchor::End, self.axis(), INK);
    }
}

/// Returns how long an input runs, with the time limit that would be asked for.
fn with_limit(entry: &Entry, input: f64) -> Option<Prediction> {
    let found = entry.profile.run_time(input)?;
    let limit = entry.profile.time_limit(Question { grain: 60.0, ..Question::plain(input) });
    Some(Prediction { request: limit.map_or(found.request, |limit| limit.request), ..found })
}

/// Reads `#rrggbb`.
fn rgb(color: &str) -> Color {
    let part = |from: usize| color.get(from..from + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(0);
    [part(1), part(3), part(5)]
}

/// Puts drawings on a page.
pub(super) fn html(title: &str, plots: &[Plot]) -> String {
    let title = escape(title);
    let drawings: String = plots.iter().map(|plot| svg(std::slice::from_ref(plot))).collect();
    format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<style>body{{max-width:60rem;margin:2rem auto;\
         font-family:sans-serif}}</style>\n<h1>{title}</h1>\n<p>Shaded: the interval that holds eight of ten. Dashed: what to ask \
         for. Hollow: cut short.</p>\n{drawings}"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::learn::profile::Profile;
    use crate::language::command::{Token, TokenKey, signature};
    use crate::model::observation::Observation;

    #[test]
    fn what_to_ask_for_of_time_is_its_limit() {
        let mut profile = Profile::default();
        for id in 0..40_u32 {
            let wall = 600.0 + 7.0 * (id * 13 % 40) as f32;
            profile.observe(7, Observation { id: u64::from(id), at: id, memory: 1e9, wall, ..Observation::default() });
        }
        let limit = profile.time_limit(Question { grain: 60.0, ..Question::plain(0.0) }).unwrap().request;
        let middle = profile.run_time(0.0).unwrap().middle;
        let signature = signature(&[vec!["sort".to_owned()]], &[], &TokenKey::new([0; 32])).unwrap();
        let plot =
            Plot::of("sort", (&[Entry { signature, class: Token(1), profile }], &Classes::default()), Quantity::Time)
                .unwrap();
        let asked = plot.series[0].band[0].3;
        assert!((asked - limit).abs() < 1e-6 && limit > middle, "{asked}: {limit}, {middle}");
    }
}
