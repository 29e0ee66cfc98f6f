//! Images: which there are, and more of them.

use std::path::Path;
use std::pin::pin;

use bollard::query_parameters::{CreateImageOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder};
use bytes::Bytes as Chunk;
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::model::units::Bytes;
use crate::reach::docker::error::{is_missing, refused};
use crate::reach::docker::login::login;
use crate::reach::docker::{Daemon, DockerError};

/// An image that a daemon holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it is called: `python:3.12-slim`; the beginning of its id where it has no name.
    pub name: String,
    /// Its digest: of its registry's manifest where it came from one, else its id.
    pub digest: String,
    /// What it takes.
    pub size: Bytes,
}

impl Daemon {
    /// Lists the images.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn images(&self) -> Result<Vec<Held>, DockerError> {
        let options = ListImagesOptionsBuilder::default().all(false).build();
        let images = self.docker.list_images(Some(options)).await;
        let images = images.map_err(|error| refused(&self.host, "list its images", error))?;
        let mut held: Vec<Held> = images
            .into_iter()
            .flat_map(|image| {
                let size = Bytes(u64::try_from(image.size).unwrap_or_default());
                let digest = digest(&image.repo_digests, &image.id);
                let called: Vec<String> = image.repo_tags.into_iter().filter(|name| name != "<none>:<none>").collect();
                let short = image.id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
                let labels = if called.is_empty() { vec![short] } else { called };
                labels.into_iter().map(move |name| Held { name, digest: digest.clone(), size })
            })
            .collect();
        held.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(held)
    }

    /// Returns whether the daemon has an image.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn has(&self, image: &str) -> Result<bool, DockerError> {
        Ok(self.look(image).await?.is_some())
    }

    /// Returns an image's digest, and what it takes on the daemon's disk; none where the daemon has none.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn look(&self, image: &str) -> Result<Option<(String, Bytes)>, DockerError> {
        let seen = match self.docker.inspect_image(image).await {
            Ok(seen) => seen,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(refused(&self.host, "look for an image", error)),
        };
        let size = Bytes(seen.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default());
        let digests = seen.repo_digests.unwrap_or_default();
        Ok(Some((digest(&digests, seen.id.as_deref().unwrap_or_default()), size)))
    }

    /// Writes an image to a file, as `docker save` does.
    ///
    /// # Errors
    /// When the daemon does not give it, or the file cannot be written.
    pub async fn save(&self, image: &str, path: &Path) -> Result<(), DockerError> {
        let broken = |error: std::io::Error| {
            let detail = format!("{}: {error}", path.display());
            DockerError::Refused { host: self.host.clone(), action: "have an image written down", detail }
        };
        let mut file = tokio::fs::File::create(path).await.map_err(broken)?;
        let mut chunks = pin!(self.docker.export_image(image));
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| refused(&self.host, "give an image", error))?;
            file.write_all(&chunk).await.map_err(broken)?;
        }
        file.flush().await.map_err(broken)
    }

    /// Pulls an image; `progress` is told what the daemon says.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn pull(&self, image: &str, mut progress: impl FnMut(&str) + Send) -> Result<(), DockerError> {
        // Without a tag or a digest the daemon would take all there are.
        let last = image.rsplit('/').next().unwrap_or(image);
        let whole = if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") };
        let options = CreateImageOptionsBuilder::default().from_image(&whole).build();
        let mut told = self.docker.create_image(Some(options), None, login(image));
        let none = |detail: String| DockerError::NoImage { host: self.host.clone(), image: image.to_owned(), detail };
        while let Some(line) = told.next().await {
            match line {
                Ok(line) => {
                    if let Some(detail) = line.error_detail {
                        return Err(none(detail.message.unwrap_or_default()));
                    }
                    if let Some(status) = line.status {
                        progress(&status);
                    }
                }
                Err(error) => return Err(none(super::words(&error))),
            }
        }
        Ok(())
    }

    /// Takes an image from another daemon, through this process; returns what it is called there.
    ///
    /// # Errors
    /// When one of the two does not do its part.
    pub async fn take(&self, other: &Self, image: &str) -> Result<Option<String>, DockerError> {
        if !other.has(image).await? {
            let detail = format!("{} has none either", other.host);
            return Err(DockerError::NoImage { host: self.host.clone(), image: image.to_owned(), detail });
        }
        self.load_stream(other.docker.export_image(image).map(|chunk| chunk.map_err(std::io::Error::other))).await
    }

    /// Loads the archive in a file; returns what the image is called there.
    ///
    /// # Errors
    /// As [`Daemon::load`].
    pub async fn load_file(&self, path: &Path) -> Result<Option<String>, DockerError> {
        let unreadable = |error: std::io::Error| {
            let detail = format!("{}: {error}", path.display());
            DockerError::Refused { host: self.host.clone(), action: "load an image", detail }
        };
        self.load(std::fs::File::open(path).map_err(unreadable)?).await
    }

    /// Loads an archive, as `docker save` writes them; returns what the image is called there.
    ///
    /// # Errors
    /// When the file cannot be read, or is no such archive.
    pub async fn load(&self, file: std::fs::File) -> Result<Option<String>, DockerError> {
        self.load_stream(ReaderStream::new(tokio::fs::File::from_std(file))).await
    }

    async fn load_stream(
        &self,
        archive: impl Stream<Item = std::io::Result<Chunk>> + Send + 'static,
    ) -> Result<Option<String>, DockerError> {
        let options = ImportImageOptionsBuilder::default().build();
        let mut told = pin!(self.docker.import_image(options, bollard::body_try_stream(archive), None));
        let mut loaded = None;
        while let Some(line) = told.next().await {
            let line = line.map_err(|error| refused(&self.host, "load an image", error))?;
            if let Some(detail) = line.error_detail {
                let detail = detail.message.unwrap_or_default();
                return Err(DockerError::Refused { host: self.host.clone(), action: "load an image", detail });
            }
            let name = line.stream.as_deref().and_then(|said| said.trim().strip_prefix("Loaded image"));
            loaded = name.and_then(|name| name.split_once(": ")).map(|(_, name)| name.to_owned()).or(loaded);
        }
        Ok(loaded)
    }
}

/// Returns the digest that a registry has of an image, where it came from one; its id otherwise.
fn digest(names: &[String], id: &str) -> String {
    let digest = names.first().and_then(|name| name.split_once("@sha256:"));
    digest.map_or_else(|| id.to_owned(), |(_, digest)| format!("sha256:{digest}"))
}
