//! What lies on disk: sizes and times of many paths at once, and contents.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

use crate::model::data::DATA;
use crate::model::plan::Fingerprint;
use crate::reach::files::FilesError;

/// Files over this are told apart by size and time alone: reading them would cost more than running again once in a while.
pub const HASH_LIMIT: u64 = 256 << 20;

/// A directory in which many paths are looked at: relative paths are resolved from it without being joined to it.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    dir: OwnedFd,
}

impl Root {
    /// Opens a directory.
    ///
    /// # Errors
    /// When it is not there, not a directory, or may not be entered.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| FilesError::io("enter", path)(errno.into()))?;
        Ok(Self { path: path.to_path_buf(), dir })
    }

    /// Returns the fingerprint of a file or of a directory with all that is in it, without hashes; none when there is nothing.
    ///
    /// # Errors
    /// When it may not be looked at.
    pub fn look(&self, path: &str) -> Result<Option<Fingerprint>, FilesError> {
        let refused = |errno: Errno| FilesError::io("look at", self.path.join(path))(errno.into());
        match statat(&self.dir, path, AtFlags::empty()) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => self.look_into(path).map(Some),
            Ok(stat) => Ok(Some(print(&stat))),
            // A link to itself is as good as nothing.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(refused(errno)),
        }
    }

    /// Returns the fingerprints of those paths that are wanted, in their order.
    ///
    /// # Errors
    /// At the first that may not be looked at.
    pub fn look_at<'a>(
        &self,
        paths: impl Iterator<Item = (&'a str, bool)>,
    ) -> Result<Vec<Option<Fingerprint>>, FilesError> {
        paths.map(|(path, wanted)| if wanted { self.look(path) } else { Ok(None) }).collect()
    }

    /// Returns the hash of a file's content; none for a directory, a file over [`HASH_LIMIT`], or one that is gone.
    ///
    /// # Errors
    /// When it may not be read.
    pub fn hash(&self, path: &str) -> Result<Option<[u8; 16]>, FilesError> {
        let opened = openat(&self.dir, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty());
        let file = match opened {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(FilesError::io("read", self.path.join(path))(errno.into())),
        };
        let size = || -> io::Result<Option<u64>> {
            let metadata = file.metadata()?;
            Ok(metadata.is_file().then_some(metadata.len()))
        };
        let hash = || size()?.map_or(Ok(None), |size| hash_of(&file, size));
        hash().map_err(FilesError::io("read", self.path.join(path)))
    }

    /// Sums up a directory: the sizes of its files, the latest change of anything in it. Links in it are not followed.
    fn look_into(&self, path: &str) -> Result<Fingerprint, FilesError> {
        let mut sum = Fingerprint { size: 0, mtime: i64::MIN, hash: None };
        let path_of = self.path.join(path);
        // When a copy of a dataset was made says nothing: its directories are what their files are.
        let of_dataset = path_of.to_str().is_some_and(|path| path.contains(&format!("/{DATA}")));
        for entry in walkdir::WalkDir::new(path_of) {
            match entry.and_then(|entry| entry.metadata().map(|metadata| (entry, metadata))) {
                Ok((entry, metadata)) => {
                    if entry.file_type().is_file() {
                        sum.size = sum.size.saturating_add(metadata.len());
                    }
                    if !of_dataset {
                        sum.mtime = sum.mtime.max(mtime(&metadata));
                    } else if entry.file_type().is_file() {
                        sum.mtime = sum.mtime.max(mtime(&metadata).div_euclid(1_000_000).saturating_mul(1_000_000));
                    }
                }
                // Removed while we look.
                Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => {}
                Err(error) => {
                    let path = error.path().map_or_else(|| self.path.join(path), Path::to_path_buf);
                    return Err(FilesError::io("look at", path)(error.into()));
                }
            }
        }
        Ok(sum)
    }
}

/// Returns the fingerprint of a path (absolute), without its hash, or with it where that is cheap enough; none when there is
/// nothing.
///
/// # Errors
/// When it may not be looked at, or read.
pub fn fingerprint(path: &Path, hash: bool) -> Result<Option<Fingerprint>, FilesError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(FilesError::io("look at", path)(error)),
    };
    if metadata.is_dir() {
        let parent = Root::open(path)?;
        return parent.look_into(".").map(Some);
    }
    let mut print = Fingerprint { size: metadata.len(), mtime: mtime(&metadata), hash: None };
    if hash && metadata.is_file() {
        print.hash = match File::open(path) {
            Ok(file) => hash_of(&file, print.size).map_err(FilesError::io("read", path))?,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(FilesError::io("read", path)(error)),
        };
    }
    Ok(Some(print))
}

/// Returns whether an error says that there is nothing at a path.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// Reads a file of about this size through; one that grows over the limit meanwhile is given up.
fn hash_of(mut file: &File, size: u64) -> io::Result<Option<[u8; 16]>> {
    if size > HASH_LIMIT {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    // Most outputs are small: a buffer of the file's size, up to what the hash function digests well at once.
    let mut buffer = vec![0u8; (size as usize + 1).clamp(4 << 10, 256 << 10)];
    let mut total = 0u64;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total += read as u64;
        if total > HASH_LIMIT {
            return Ok(None);
        }
        hasher.update(buffer.get(..read).unwrap_or(&[]));
    }
    Ok(hasher.finalize().as_bytes().first_chunk::<16>().copied())
}

fn print(stat: &Stat) -> Fingerprint {
    #[expect(clippy::unnecessary_cast, reason = "the fields' types differ between platforms")]
    let mtime = (stat.st_mtime as i64).saturating_mul(1_000_000).saturating_add(stat.st_mtime_nsec as i64 / 1000);
    Fingerprint { size: u64::try_from(stat.st_size).unwrap_or(0), mtime, hash: None }
}

fn mtime(metadata: &std::fs::Metadata) -> i64 {
    use std::os::unix::fs::MetadataExt;
    metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1000)
}
