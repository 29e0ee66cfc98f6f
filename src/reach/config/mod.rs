//! Where csync keeps its things, and what people set.

mod state_dir;

pub use state_dir::{StateDir, StateDirError};
