//! Rows of CSV into a Parquet file.

use std::fs::{self, File};
use std::io::{self, BufRead, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use polars::prelude::{DataFrame, DataType, PlSmallStr, Schema};
use polars_io::SerReader;
use polars_io::csv::read::CsvReadOptions;
use polars_io::parquet::write::{ParquetCompression, ParquetWriter};

use crate::PART;

/// Longest row that is read.
const ROW: u64 = 16 << 20;

/// Writes standard input to a file; the file appears whole or not at all.
pub(crate) fn write(path: &Path, types: &str) -> Result<(), String> {
    let schema = Arc::new(schema(types)?);
    let name = path.file_name().ok_or("the file has no name")?;
    let part = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let written = File::create(&part).map_err(|error| error.to_string()).and_then(|file| {
        let rows = rows(io::stdin().lock(), &schema, &file)?;
        file.sync_all().map_err(|error| error.to_string())?;
        Ok(rows)
    });
    let done = written.and_then(|_| fs::rename(&part, path).map_err(|error| error.to_string()));
    if done.is_err() {
        drop(fs::remove_file(&part));
    }
    done.map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// Reads `NAME=TYPE,...`.
pub(crate) fn schema(types: &str) -> Result<Schema, String> {
    let mut schema = Schema::default();
    for entry in types.split(',') {
        let (name, kind) = entry.split_once('=').ok_or_else(|| format!("`{entry}` says no type"))?;
        let kind = match kind {
            "str" => DataType::String,
            "u64" => DataType::UInt64,
            "i64" => DataType::Int64,
            "f64" => DataType::Float64,
            _ => return Err(format!("`{kind}` is no type: str, u64, i64, f64")),
        };
        schema.insert(PlSmallStr::from(name), kind);
    }
    Ok(schema)
}

/// Writes rows part by part, each as a row group; returns how many there were.
fn rows(mut input: impl BufRead, schema: &Arc<Schema>, file: &File) -> Result<usize, String> {
    let mut header = String::new();
    input.read_line(&mut header).map_err(|error| error.to_string())?;
    let names: Vec<&str> = header.trim_end().split(',').collect();
    let wanted: Vec<&str> = schema.iter_names().map(PlSmallStr::as_str).collect();
    if names != wanted {
        return Err(format!("the columns are {}, not {}", names.join(","), wanted.join(",")));
    }
    let writer = ParquetWriter::new(file).with_compression(ParquetCompression::Zstd(None));
    let mut writer = writer.batched(schema).map_err(|error| error.to_string())?;
    let mut total = 0;
    let mut part = Vec::new();
    loop {
        part.clear();
        let mut count = 0;
        while count < PART {
            let before = part.len();
            let read = input.by_ref().take(ROW).read_until(b'\n', &mut part).map_err(|error| error.to_string())?;
            if read == 0 {
                break;
            }
            if part.get(before..).is_some_and(|row| !row.ends_with(b"\n") && read as u64 == ROW) {
                return Err(format!("row {} is longer than {ROW} bytes", total + count + 1));
            }
            count += 1;
        }
        if count == 0 {
            break;
        }
        let frame = frame(std::mem::take(&mut part), schema)?;
        if frame.height() != count {
            return Err(format!("{count} lines have {} rows", frame.height()));
        }
        writer.write_batch(&frame).map_err(|error| error.to_string())?;
        total += count;
    }
    writer.finish().map_err(|error| error.to_string())?;
    Ok(total)
}

fn frame(part: Vec<u8>, schema: &Arc<Schema>) -> Result<DataFrame, String> {
    let options = CsvReadOptions::default().with_has_header(false).with_schema(Some(Arc::clone(schema)));
    options.into_reader_with_file_handle(Cursor::new(part)).finish().map_err(|error| error.to_string())
}
