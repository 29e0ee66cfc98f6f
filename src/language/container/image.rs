//! Names of images.

use std::fmt;
use std::str::FromStr;

use crate::model::host::ContainerRuntime;

/// An image, as `container` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// In a registry: `python:3.12-slim`, `quay.io/biocontainers/star@sha256:...`.
    Registry(String),
    /// Where Apptainer and Singularity alone take it from: `library://...`, `oras://...`, `shub://...`.
    Apptainer(String),
    /// A file.
    File(Archive, String),
}

/// What runs images by their names.
pub const RUNTIMES: [ContainerRuntime; 4] =
    [ContainerRuntime::Apptainer, ContainerRuntime::Singularity, ContainerRuntime::Docker, ContainerRuntime::Podman];

/// What an image's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    /// A `.sif`, ready to run for Apptainer and Singularity.
    Sif,
    /// What `docker save` writes.
    Docker,
    /// An OCI layout in a tar.
    Oci,
}

/// A text that names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadImage {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// A place that nobody takes images from.
    #[error("there are no images at `{0}:`; known are docker://, docker-archive:, oci-archive:, library://, oras://")]
    Scheme(String),
    /// A file whose name does not say what it is.
    #[error("`{0}` does not say what kind of file it is; write `docker-archive:{0}`, or `oci-archive:{0}`")]
    File(String),
    /// A file name that cannot be passed on.
    #[error("there is a line end in its name")]
    LineEnd,
    /// A repository's name with a character that none has.
    #[error("`{0}` cannot be the name of an image: {1}")]
    Name(String, &'static str),
}

impl Image {
    /// Returns the file that it is, as written.
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::File(_, path) => Some(path),
            Self::Registry(_) | Self::Apptainer(_) => None,
        }
    }

    /// Returns the same image where its file has another name.
    #[must_use]
    pub fn at(&self, place: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::File(archive, path) => Self::File(*archive, place(path)),
            other => other.clone(),
        }
    }

    /// Returns what can run it.
    pub const fn runtimes(&self) -> &'static [ContainerRuntime] {
        if self.is_for_daemons() { &RUNTIMES } else { &[ContainerRuntime::Apptainer, ContainerRuntime::Singularity] }
    }

    /// Returns whether Docker and Podman can run it.
    pub const fn is_for_daemons(&self) -> bool {
        !matches!(self, Self::Apptainer(_) | Self::File(Archive::Sif, _))
    }
}

impl fmt::Display for Image {
    /// Writes it as the prelude takes it, which is a spelling that is read back too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(name) => write!(f, "registry:{name}"),
            Self::Apptainer(url) => write!(f, "apptainer:{url}"),
            Self::File(Archive::Sif, path) => write!(f, "sif:{path}"),
            Self::File(Archive::Docker, path) => write!(f, "docker-archive:{path}"),
            Self::File(Archive::Oci, path) => write!(f, "oci-archive:{path}"),
        }
    }
}

impl FromStr for Image {
    type Err = BadImage;

    fn from_str(text: &str) -> Result<Self, BadImage> {
        let text = text.trim();
        if text.contains('\n') {
            return Err(BadImage::LineEnd);
        }
        let file = |archive, path: &str| {
            let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
            if path.is_empty() { Err(BadImage::Empty) } else { Ok(Self::File(archive, path.to_owned())) }
        };
        if let Some(name) = text.strip_prefix("docker://").or_else(|| text.strip_prefix("registry:")) {
            return registry(name);
        }
        if let Some(path) = text.strip_prefix("docker-archive:") {
            return file(Archive::Docker, path);
        }
        if let Some(path) = text.strip_prefix("oci-archive:") {
            return file(Archive::Oci, path);
        }
        if let Some(path) = text.strip_prefix("sif:") {
            return file(Archive::Sif, path);
        }
        let url = text.strip_prefix("apptainer:").unwrap_or(text);
        if let Some((scheme, rest)) = url.split_once("://") {
            let known = matches!(scheme, "library" | "oras" | "shub");
            return if known && !rest.is_empty() && !rest.starts_with('-') {
                Ok(Self::Apptainer(url.to_owned()))
            } else {
                Err(BadImage::Scheme(scheme.to_owned()))
            };
        }
        let ends = |all: &[&str]| all.iter().any(|end| text.ends_with(end));
        if ends(&[".sif", ".simg"]) {
            return file(Archive::Sif, text);
        }
        if ends(&[".tar", ".tar.gz", ".tgz"]) {
            return file(Archive::Docker, text);
        }
        if text.starts_with(['/', '.', '~']) {
            return Err(BadImage::File(text.to_owned()));
        }
        registry(text)
    }
}

/// Returns what an image that comes from a registry is known as, however it was written; none of a file, and of what is no name.
pub fn pulled_name(container: &str) -> Option<String> {
    let name: String = match container.parse() {
        Ok(Image::Registry(name)) => name,
        Ok(Image::Apptainer(url)) => return Some(url),
        Ok(Image::File(..)) | Err(_) => return None,
    };
    // Docker's own registry goes without saying, and what Podman was given as a file is on `localhost`.
    let mut short = name.as_str();
    for before in ["docker.io/", "localhost/", "library/"] {
        short = short.strip_prefix(before).unwrap_or(short);
    }
    let last = short.rsplit('/').next().unwrap_or(short);
    Some(if last.contains([':', '@']) { short.to_owned() } else { format!("{short}:latest") })
}

/// Checks a name as registries have them: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
fn registry(name: &str) -> Result<Image, BadImage> {
    let bad = |why| Err(BadImage::Name(name.to_owned(), why));
    if name.is_empty() {
        return Err(BadImage::Empty);
    }
    let (rest, digest) = name.split_once('@').map_or((name, None), |(rest, digest)| (rest, Some(digest)));
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return bad("after `@` stands `sha256:` and 64 hexadecimal digits");
        }
    }
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if tag
        .is_some_and(|tag| tag.is_empty() || tag.len() > 128 || !tag.bytes().all(plain) || tag.starts_with(['.', '-']))
    {
        return bad("a tag has letters, digits, `_`, `.` and `-`");
    }
    let parts = path.split('/').enumerate();
    let several = path.contains('/');
    for (at, part) in parts {
        let host = at == 0 && several && (part.contains(['.', ':']) || part == "localhost");
        let fits = |byte: u8| plain(byte) && !byte.is_ascii_uppercase() || (host && (byte == b':' || plain(byte)));
        if part.is_empty() || !part.bytes().all(fits) || part.starts_with(['.', '-', '_']) || part.ends_with(['-', '_'])
        {
            return bad("the parts of a name have small letters, digits, `_`, `.` and `-`");
        }
    }
    Ok(Image::Registry(name.to_owned()))
}
