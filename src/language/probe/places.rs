//! Where a host keeps files: filesystems, scratch, quotas.

use std::collections::HashMap;

use crate::language::probe::parts::clean;
use crate::model::facts::{Filesystem, Quota, ScratchCandidate};
use crate::model::units::Bytes;

/// Most filesystems that are kept.
const MOST: usize = 100;

/// A line of `df -Pk`.
struct Room {
    size: Option<Bytes>,
    free: Option<Bytes>,
    mount: String,
}

/// Reads `device blocks used available percent mount`; the device may hold blanks, the mount too.
fn room(line: &str) -> Option<Room> {
    let percent = line.split_whitespace().position(|word| word.ends_with('%') || word == "-")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let kib =
        |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).map(|kib| Bytes(kib.saturating_mul(1024)));
    let mount = words.get(percent + 1..)?.join(" ");
    let (size, free) = (kib(percent.checked_sub(3)?), kib(percent.checked_sub(1)?));
    mount.starts_with('/').then(|| Room { size, free, mount: clean(&mount) })
}

/// Returns whether other machines mount a filesystem of this kind too.
fn is_network(kind: &str) -> bool {
    const KINDS: [&str; 15] = [
        "lustre",
        "gpfs",
        "panfs",
        "wekafs",
        "pvfs2",
        "orangefs",
        "cifs",
        "smbfs",
        "smb3",
        "afs",
        "9p",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.cephfs",
        "vast",
    ];
    KINDS.contains(&kind) || ["nfs", "beegfs", "ceph"].iter().any(|family| kind.starts_with(family))
}

/// Reads the table of mounts, and keeps those that `df` told the room of.
pub(super) fn filesystems(mounts: &str, rooms: &str) -> Vec<Filesystem> {
    let mut kinds: HashMap<&str, &str> = HashMap::new();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        if let (Some(mount), Some(kind)) = (words.nth(1), words.next()) {
            // What is mounted last lies on top.
            kinds.insert(mount, kind);
        }
    }
    let mut found: Vec<Filesystem> = Vec::new();
    for room in rooms.lines().filter_map(room).take(MOST) {
        let Some(kind) = kinds.get(room.mount.as_str()) else { continue };
        if found.iter().any(|known| known.mount == room.mount) {
            continue;
        }
        let kind = clean(kind);
        found.push(Filesystem {
            network: is_network(&kind),
            kind,
            mount: room.mount,
            size: room.size,
            free: room.free,
        });
    }
    found
}

/// Reads `why TAB directory TAB line of df`; those that compute nodes are likely to see come first, home comes last.
pub(super) fn scratch(section: &str, filesystems: &[Filesystem]) -> Vec<ScratchCandidate> {
    let candidate = |line: &str| {
        let mut fields = line.splitn(3, '\t');
        let (why, path) = (clean(fields.next()?), clean(fields.next()?));
        let room = fields.next().and_then(room);
        let mount = room.as_ref().map(|room| room.mount.clone()).unwrap_or_default();
        let shared = filesystems.iter().any(|known| known.mount == mount && known.network);
        let free = room.and_then(|room| room.free);
        path.starts_with('/').then_some(ScratchCandidate { path, why, mount, shared, free })
    };
    let mut found: Vec<ScratchCandidate> = section.lines().filter_map(candidate).collect();
    found.sort_by_key(|candidate| (candidate.why == "home", !candidate.shared));
    found
}

/// Reads what `quota -w` and `lfs quota -q` print, each line behind the command's name; both count KiB.
pub(super) fn quotas(section: &str) -> Vec<Quota> {
    let quota = |line: &str| {
        let (command, rest) = line.split_once(' ')?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        if !matches!(command, "quota" | "lustre") || words.len() < 4 {
            return None;
        }
        // A `*` marks what is over its limit.
        let kib =
            |at: usize| words.get(at)?.trim_end_matches('*').parse::<u64>().ok().map(|kib| kib.saturating_mul(1024));
        let (used, soft, hard) = (kib(1)?, kib(2)?, kib(3)?);
        let limit = [hard, soft].into_iter().find(|limit| *limit > 0).map(Bytes);
        Some(Quota { filesystem: clean(words.first()?), used: Bytes(used), limit })
    };
    section.lines().filter_map(quota).collect()
}
