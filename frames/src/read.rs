//! A Parquet file as rows of CSV.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use polars::prelude::DataType;
use polars_io::SerReader;
use polars_io::SerWriter;
use polars_io::csv::write::CsvWriter;
use polars_io::parquet::read::ParquetReader;

use crate::PART;

/// Prints a file's rows, of these columns or of all that a row of CSV can say.
pub(crate) fn read(path: &Path, columns: Option<&str>) -> Result<(), String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", path.display());
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let open = || file.try_clone().map(ParquetReader::new).map_err(|error| unreadable(&error));
    let mut whole = open()?;
    let rows = whole.num_rows().map_err(|error| unreadable(&error))?;
    let schema = whole.schema().map_err(|error| unreadable(&error))?;
    let metadata = std::sync::Arc::clone(whole.get_metadata().map_err(|error| unreadable(&error))?);
    let there: Vec<String> = schema.iter_values().map(|field| field.name.to_string()).collect();
    // Columns that are asked for and not there are left out: whoever asks takes what there is.
    let wanted: Vec<String> = match columns {
        Some(columns) => {
            columns.split(',').filter(|name| there.iter().any(|known| known == name)).map(str::to_owned).collect()
        }
        None => there,
    };
    if wanted.is_empty() {
        return Err(unreadable(&"it has none of the columns"));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for from in (0..rows.max(1)).step_by(PART) {
        let mut reader = open()?.with_columns(Some(wanted.clone())).with_slice(Some((from, PART)));
        reader.set_metadata(std::sync::Arc::clone(&metadata));
        let frame = reader.finish().map_err(|error| unreadable(&error))?;
        // Lists and the like cannot stand in a row of CSV.
        let flat: Vec<_> =
            frame.columns().iter().filter(|column| !matches!(column.dtype(), DataType::List(_))).cloned().collect();
        let mut frame = polars::prelude::DataFrame::new(frame.height(), flat).map_err(|error| unreadable(&error))?;
        match CsvWriter::new(&mut out).include_header(from == 0).finish(&mut frame) {
            Ok(()) => {}
            // Who reads has enough.
            Err(polars::error::PolarsError::IO { error, .. }) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(());
            }
            Err(error) => return Err(format!("rows cannot be written: {error}")),
        }
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("rows cannot be written: {error}")),
        _ => Ok(()),
    }
}
