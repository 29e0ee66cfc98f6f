//! Whether a runtime holds the limits that it takes.

use crate::language::container::Sandbox;
use crate::model::units::{Bytes, Walltime};
use crate::reach::docker::{Daemon, DockerError, Order, Spec};

/// With how many images it is tried.
const IMAGES: usize = 4;
/// What is more than what was asked for: limits are rounded to pages.
const SLACK: u64 = 1 << 20;

/// Returns whether a limit is held to more than what was asked for.
pub(super) fn is_over(asked: Bytes, held: u64) -> bool {
    held > asked.0.saturating_add(SLACK)
}

impl Daemon {
    /// Runs a container of the smallest image that is there, which says what limits of memory and processes the kernel holds it
    /// to. Returns whether it does; none where no image at hand can say so. Nothing is pulled, and nothing of it is left.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn try_limits(&self, owner: &str) -> Result<Option<bool>, DockerError> {
        let mut images = self.images().await?;
        images.sort_by_key(|image| image.size);
        let command = ["true".to_owned()];
        let sandbox = Sandbox { cpus: 1, memory: Bytes::mib(64), pids: 64, disk: Bytes::mib(1), time: Walltime(20) };
        for image in images.iter().take(IMAGES) {
            let order = Order { image: &image.name, command: &command, env: &[], files: &[], sandbox, owner };
            let done = match self.prepare(&order).await {
                Ok(made) => self.confine(&made, &order, |_, _| {}, std::future::pending()).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(_) => return Ok(Some(true)),
                Err(DockerError::Unlimited { .. }) => return Ok(Some(false)),
                // For another machine, without a shell, or removed meanwhile.
                Err(DockerError::NoShell { .. } | DockerError::Refused { .. } | DockerError::NoImage { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Says that the memory that a task asks for is not held, where the daemon is known for that: it takes limits without a word.
    pub fn unheld(&self, spec: &Spec) -> Option<String> {
        let known = self.lax && spec.memory.is_some();
        known.then(|| format!("the Podman of {} holds no limits, that of memory neither", self.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_rounded_is_held() {
        for (held, over) in
            [(64 << 20, false), ((64 << 20) + 4096, false), (65 << 20, false), (66 << 20, true), (u64::MAX, true)]
        {
            assert_eq!(is_over(Bytes::mib(64), held), over, "{held}");
        }
    }
}
