//! The client of the engine: HTTP over its Unix socket.
