//! What `docker save` writes: which image is in it, without having it loaded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;

/// Most that a table of contents is.
const MOST: u64 = 16 << 20;
/// How what gzip wrote begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An image in `manifest.json`.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "Config")]
    config: String,
}

/// Returns the id of the image in an archive, compressed by gzip or not; none where it holds none, or is something else.
///
/// # Errors
/// When the file cannot be read.
pub fn image_id(path: &Path) -> io::Result<Option<String>> {
    let mut file = BufReader::new(File::open(path)?);
    if file.fill_buf()?.starts_with(&GZIP) {
        let mut archive = tar::Archive::new(GzDecoder::new(file));
        let Ok(entries) = archive.entries() else { return Ok(None) };
        return first(entries);
    }
    let mut archive = tar::Archive::new(file);
    // What is passed over is not read.
    let Ok(entries) = archive.entries_with_seek() else { return Ok(None) };
    first(entries)
}

/// Finds the table of contents, and reads the id from it.
fn first<R: Read>(entries: tar::Entries<'_, R>) -> io::Result<Option<String>> {
    for entry in entries {
        let Ok(entry) = entry else { return Ok(None) };
        if entry.path().is_ok_and(|name| name.as_os_str() == "manifest.json") {
            let mut text = String::new();
            entry.take(MOST).read_to_string(&mut text)?;
            return Ok(id(&text));
        }
    }
    Ok(None)
}

/// Reads the id from the table of contents: its configuration's file is called so.
fn id(manifest: &str) -> Option<String> {
    let entries: Vec<Entry> = serde_json::from_str(manifest).ok()?;
    let config = &entries.first()?.config;
    let name = config.rsplit('/').next()?.trim_end_matches(".json");
    let is_digest = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| format!("sha256:{name}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_image_of_an_archive_is_known_by_its_id() {
        let hex = "ab".repeat(32);
        for (config, found) in [
            (format!("{hex}.json"), Some(format!("sha256:{hex}"))),
            (format!("blobs/sha256/{hex}"), Some(format!("sha256:{hex}"))),
            ("../../etc/passwd".to_owned(), None),
        ] {
            let manifest = format!(r#"[{{"Config": "{config}", "RepoTags": null, "Layers": []}}]"#);
            assert_eq!(id(&manifest), found, "{config}");
        }
        assert_eq!((id("[]"), id("{")), (None, None));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("box.tar");
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        let manifest = format!(r#"[{{"Config": "{hex}.json"}}]"#);
        for (name, content) in [("layer.tar", "x".repeat(5000)), ("manifest.json", manifest)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        builder.finish().unwrap();
        assert_eq!(image_id(&path).unwrap(), Some(format!("sha256:{hex}")));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&std::fs::read(&path).unwrap()).unwrap();
        std::fs::write(&path, packed.finish().unwrap()).unwrap();
        assert_eq!(image_id(&path).unwrap(), Some(format!("sha256:{hex}")));
        std::fs::write(&path, b"\x1f\x8b no archive").unwrap();
        assert_eq!(image_id(&path).unwrap(), None);
        assert!(image_id(Path::new("/nonexistent")).is_err());
    }
}
