//! The engine's beginning: its store and its worker, at the same time.

use crate::reach::config::StateDir;
use crate::reach::store::StoreError;
use crate::serve::engine::handle::Handle;
use crate::serve::engine::link::Early;
use crate::serve::engine::runner::Runner;
use crate::serve::engine::settings::Settings;

impl Runner {
    /// Opens the store, takes up the runs that were live and looks for a worker. Nobody else may be the engine of this state
    /// directory.
    ///
    /// # Errors
    /// When the store cannot be used. A worker that was started meanwhile is gone then.
    pub async fn open(state: StateDir, settings: Settings) -> Result<(Self, Handle), StoreError> {
        let early = Early::begin(&state, &settings);
        match Self::take_up(state, settings).await {
            Ok((mut runner, handle)) => {
                runner.connect_to(early);
                Ok((runner, handle))
            }
            Err(error) => {
                early.give_up().await;
                Err(error)
            }
        }
    }
}
