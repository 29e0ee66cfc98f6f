//! The HTTP API on the engine's Unix socket.
