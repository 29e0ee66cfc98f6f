//! This machine: cores, memory, process trees.
