//! A large file of a host, piece by piece: no more of it is on its way than was asked for, however slowly it is taken.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::reach::transport::stream::Channel;
use crate::reach::transport::{Status, Transport, TransportError, WAITING};

/// How much is read at once there.
const BLOCK: u64 = 1 << 20;

/// Blocks of a piece.
const BLOCKS: u64 = 8;

/// Pieces that are asked for before the first of them has come: enough for a long and fat link.
const AHEAD: u64 = 4;

const _: () = assert!(BLOCK * BLOCKS * AHEAD <= WAITING as u64, "the connection would wait for what was asked for");

/// How much is taken at once.
const BUFFER: usize = 256 * 1024;

/// A file that comes from a host.
pub(crate) struct Pull {
    channel: Channel,
    /// How much of the file came, and was asked for; all of it is so much.
    at: u64,
    asked: u64,
    size: u64,
}

impl Pull {
    /// Opens a file of so many bytes behind the first few; `file` is quoted. `then` is run there once it was sent.
    pub(crate) async fn open(
        host: &dyn Transport,
        file: &str,
        (has, size): (u64, u64),
        then: &str,
    ) -> Result<Self, TransportError> {
        // Pieces begin with a block.
        let asked = has.next_multiple_of(BLOCK).min(size).max(has);
        let odd = if asked > has {
            format!("tail -c +{} <{file} | head -c {}\n", has + 1, asked - has)
        } else {
            String::new()
        };
        // The last piece of a file is no whole one; that of a file that became shorter is not either.
        let script = format!(
            "exec 3<{file} 3>&1 || exit 66
            {odd}while read -r at; do
            said=$(dd bs={BLOCK} skip=\"$at\" count={BLOCKS} <{file} 2>&1 >&3) || {{ printf '%s\\n' \"$said\" >&2; exit 74; }}
            case $said in {BLOCKS}+0*) ;; *) break ;; esac
            done
            {then}"
        );
        Ok(Self { channel: host.open(&script).await?, at: has, asked, size })
    }

    /// Returns what comes next; nothing at the end, or where no more comes.
    pub(crate) async fn next(&mut self) -> Vec<u8> {
        let left = self.size.saturating_sub(self.at);
        if left == 0 {
            return Vec::new();
        }
        self.ask().await;
        let mut chunk = Vec::with_capacity(BUFFER);
        // Never more than was announced: a file that grows, or a host that lies, fills no disk. What fails is explained by how the
        // command ended.
        drop(self.channel.split().1.take(left).read_buf(&mut chunk).await);
        self.at += chunk.len() as u64;
        chunk
    }

    /// Asks for what may be on its way.
    async fn ask(&mut self) {
        let stdin = self.channel.split().0;
        while self.asked < self.size.min(self.at + BLOCK * BLOCKS * AHEAD) {
            let line = format!("{}\n", self.asked / BLOCK);
            if stdin.write_all(line.as_bytes()).await.is_err() || stdin.flush().await.is_err() {
                // What was sent before may still come.
                self.asked = self.size;
                break;
            }
            self.asked += BLOCK * BLOCKS;
        }
        if self.asked >= self.size {
            drop(stdin.shutdown().await);
        }
    }

    /// Waits for the end of what runs there; returns what it complained too.
    pub(crate) async fn wait(self) -> Result<(Status, Vec<u8>), TransportError> {
        self.channel.wait().await
    }
}
