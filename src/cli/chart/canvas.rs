//! Drawings as pixels, for PNG: lines, dots, areas and text on white.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use font8x8::legacy::BASIC_LEGACY;

/// A color: red, green, blue.
pub(in crate::cli) type Color = [u8; 3];

/// Pixels of the file for each unit of a drawing, on each side.
const SCALE: usize = 2;
/// Points that are drawn for each pixel of the file, on each side: their mean has no stairs.
const FINE: usize = 2;
/// Points for each unit.
const POINTS: f64 = (SCALE * FINE) as f64;
/// Units of a letter, on each side.
const LETTER: f64 = 8.0;

/// Where a text stands to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing.
#[derive(Debug)]
pub(in crate::cli) struct Canvas {
    width: usize,
    height: usize,
    points: Vec<u8>,
}

impl Canvas {
    /// Makes a white one of so many units.
    pub(in crate::cli) fn new(width: f64, height: f64) -> Self {
        let side = |units: f64| (units.clamp(1.0, 4096.0).round() as usize) * SCALE * FINE;
        let (width, height) = (side(width), side(height));
        Self { width, height, points: vec![255; width * height * 3] }
    }

    /// Mixes a color into a point; points outside are none.
    fn point(&mut self, x: i64, y: i64, color: Color, share: f64) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x >= self.width {
            return;
        }
        let at = (y * self.width + x) * 3;
        if let Some(point) = self.points.get_mut(at..at + 3) {
            for (old, new) in point.iter_mut().zip(color) {
                *old = (f64::from(*old) * (1.0 - share) + f64::from(new) * share).round() as u8;
            }
        }
    }

    /// Fills a polygon.
    pub(in crate::cli) fn polygon(&mut self, corners: &[(f64, f64)], color: Color, share: f64) {
        let corners: Vec<(f64, f64)> = corners.iter().map(|(x, y)| (x * POINTS, y * POINTS)).collect();
        let ends = corners.iter().map(|corner| corner.1);
        let (low, high) = (ends.clone().fold(f64::INFINITY, f64::min), ends.fold(0.0, f64::max));
        if !low.is_finite() {
            return;
        }
        let edges: Vec<((f64, f64), (f64, f64))> =
            corners.iter().copied().zip(corners.iter().copied().cycle().skip(1)).collect();
        for row in (low.max(0.0).floor() as i64)..=(high.min(self.height as f64).ceil() as i64) {
            let y = row as f64 + 0.5;
            let crossing = edges.iter().filter(|(a, b)| (a.1 <= y) != (b.1 <= y));
            let mut crossings: Vec<f64> = crossing.map(|(a, b)| a.0 + (y - a.1) / (b.1 - a.1) * (b.0 - a.0)).collect();
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                let [from, to] = pair else { continue };
                for column in (from.max(0.0).round() as i64)..(to.min(self.width as f64).round() as i64) {
                    self.point(column, row, color, share);
                }
            }
        }
    }

    /// Draws a line of this width.
    pub(in crate::cli) fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, color: Color) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let long = dx.hypot(dy);
        if long <= 0.0 || !long.is_finite() {
            return;
        }
        let (x, y) = (-dy / long * width / 2.0, dx / long * width / 2.0);
        let corners = [(from.0 + x, from.1 + y), (to.0 + x, to.1 + y), (to.0 - x, to.1 - y), (from.0 - x, from.1 - y)];
        self.polygon(&corners, color, 1.0);
    }

    /// Draws lines from corner to corner, five units drawn and three not.
    pub(in crate::cli) fn dashed(&mut self, corners: &[(f64, f64)], color: Color) {
        let mut walked = 0.0;
        for (from, to) in corners.iter().zip(corners.iter().skip(1)) {
            let long = (to.0 - from.0).hypot(to.1 - from.1);
            if long <= 0.0 || !long.is_finite() {
                continue;
            }
            let at = |way: f64| (from.0 + (to.0 - from.0) * way / long, from.1 + (to.1 - from.1) * way / long);
            let mut way = 0.0;
            while way < long {
                let phase = (walked + way) % 8.0;
                let (end, drawn) = if phase < 5.0 { (way + 5.0 - phase, true) } else { (way + 8.0 - phase, false) };
                if drawn {
                    self.line(at(way), at(end.min(long)), 1.2, color);
                }
                way = end.max(way + 0.01);
            }
            walked += long;
        }
    }

    /// Draws a dot, or a ring where it is hollow.
    pub(in crate::cli) fn dot(&mut self, (x, y): (f64, f64), radius: f64, color: Color, is_hollow: bool) {
        let (x, y, radius) = (x * POINTS, y * POINTS, radius * POINTS);
        let inner = if is_hollow { radius - POINTS } else { -1.0 };
        let reach = radius.ceil() as i64;
        let (column, row) = (x.round() as i64, y.round() as i64);
        for dy in -reach..=reach {
            for dx in -reach..=reach {
                let away = ((column + dx) as f64 - x).hypot((row + dy) as f64 - y);
                if away <= radius && away > inner {
                    self.point(column + dx, row + dy, color, 1.0);
                }
            }
        }
    }

    /// Writes a text whose letters stand on `y`. What is no ASCII shows as `?`.
    pub(in crate::cli) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, text: &str, color: Color) {
        let long = text.chars().count() as f64 * LETTER;
        let start = match anchor {
            Anchor::Start => x,
            Anchor::Middle => x - long / 2.0,
            Anchor::End => x - long,
        };
        let unit = POINTS as i64;
        let (mut left, top) = ((start * POINTS).round() as i64, ((y - LETTER + 1.0) * POINTS).round() as i64);
        for letter in text.chars() {
            let known = BASIC_LEGACY.get(letter as usize).or_else(|| BASIC_LEGACY.get('?' as usize));
            for (row, bits) in known.into_iter().flatten().zip(0_i64..).map(|(bits, row)| (row, *bits)) {
                for column in (0..8_i64).filter(|column| bits >> column & 1 == 1) {
                    for (dx, dy) in (0..unit).flat_map(|dx| (0..unit).map(move |dy| (dx, dy))) {
                        self.point(left + column * unit + dx, top + row * unit + dy, color, 1.0);
                    }
                }
            }
            left += LETTER as i64 * unit;
        }
    }

    /// Returns it as a PNG file.
    pub(in crate::cli) fn png(&self) -> Vec<u8> {
        let (width, height) = (self.width / FINE, self.height / FINE);
        let mut rows = Vec::with_capacity((width * 3 + 1) * height);
        for y in 0..height {
            // No filter: lines on white deflate well as they are.
            rows.push(0);
            for x in 0..width {
                for part in 0..3 {
                    let of = (0..FINE * FINE).filter_map(|at| {
                        let (x, y) = (x * FINE + at % FINE, y * FINE + at / FINE);
                        self.points.get((y * self.width + x) * 3 + part)
                    });
                    rows.push((of.map(|&value| usize::from(value)).sum::<usize>() / (FINE * FINE)) as u8);
                }
            }
        }
        let mut deflated = ZlibEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail.
        let data = deflated.write_all(&rows).and_then(|()| deflated.finish()).unwrap_or_default();
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut head = Vec::new();
        head.extend((width as u32).to_be_bytes());
        head.extend((height as u32).to_be_bytes());
        // Eight bits a color, three colors.
        head.extend([8, 2, 0, 0, 0]);
        for (kind, data) in [(b"IHDR", head.as_slice()), (b"IDAT", &data), (b"IEND", &[])] {
            let mut sum = Crc::new();
            sum.update(kind);
            sum.update(data);
            file.extend((data.len() as u32).to_be_bytes());
            file.extend(kind);
            file.extend(data);
            file.extend(sum.sum().to_be_bytes());
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Reads a file of [`Canvas::png`]: width, and the colors of its pixels.
    fn read(file: &[u8]) -> (usize, Vec<Color>) {
        let mut rest = file.strip_prefix(b"\x89PNG\r\n\x1a\n").unwrap();
        let (mut width, mut data) = (0, Vec::new());
        while !rest.is_empty() {
            let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let (kind, body) = (&rest[4..8], &rest[8..8 + len]);
            let mut sum = Crc::new();
            sum.update(&rest[4..8 + len]);
            assert_eq!(sum.sum().to_be_bytes(), rest[8 + len..12 + len]);
            match kind {
                b"IHDR" => width = u32::from_be_bytes(body[..4].try_into().unwrap()) as usize,
                b"IDAT" => data.extend(body),
                _ => {}
            }
            rest = &rest[12 + len..];
        }
        let mut rows = Vec::new();
        flate2::read::ZlibDecoder::new(data.as_slice()).read_to_end(&mut rows).unwrap();
        let rows = rows.chunks(width * 3 + 1).inspect(|row| assert_eq!(row[0], 0));
        (width, rows.flat_map(|row| row[1..].chunks(3).map(|color| [color[0], color[1], color[2]])).collect())
    }

    #[test]
    fn what_is_drawn_is_in_the_file() {
        const RED: Color = [200, 0, 0];
        let mut canvas = Canvas::new(40.0, 20.0);
        canvas.polygon(&[(2.0, 2.0), (10.0, 2.0), (10.0, 10.0), (2.0, 10.0)], RED, 0.5);
        canvas.dot((20.0, 10.0), 4.0, RED, true);
        canvas.line((0.0, 15.0), (40.0, 15.0), 2.0, RED);
        canvas.text((39.0, 9.0), Anchor::End, "I", [0, 0, 0]);
        // Outside nothing happens.
        canvas.dot((-50.0, 900.0), 3.0, RED, false);
        canvas.dashed(&[(f64::NAN, 0.0), (5.0, 5.0)], RED);
        let (width, pixels) = read(&canvas.png());
        assert_eq!((width, pixels.len()), (80, 80 * 40));
        let at = |x: f64, y: f64| pixels[(y * 2.0) as usize * width + (x * 2.0) as usize];
        assert_eq!(at(6.0, 6.0), [228, 128, 128]);
        assert_eq!((at(20.0, 10.0), at(16.5, 10.0)), ([255; 3], RED));
        assert_eq!((at(30.0, 15.0), at(30.0, 18.0)), (RED, [255; 3]));
        let letter = (0..16).flat_map(|x| (0..16).map(move |y| (x, y)));
        let ink = letter.filter(|(x, y)| at(31.0 + f64::from(*x) / 2.0, 2.0 + f64::from(*y) / 2.0) == [0; 3]).count();
        assert!(ink > 40, "{ink}");
    }
}
