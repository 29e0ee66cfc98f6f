//! The local worker: runs jobs as children, outlives the engine, records endings.
