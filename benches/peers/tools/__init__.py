"""One file per tool: NAME, version(), and WORKLOADS: per workload the entries (label, prepare(directory, size) -> Run, largest
size without and with --full; None for no limit)."""
