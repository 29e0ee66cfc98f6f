"""What starting and reaping a process costs at least: examples/spawn_limit.rs, two at a time."""

import os
import pathlib

from measure import Run

NAME = "spawn limit"


def program():
    return pathlib.Path(os.environ["CSYNC_BENCH_BIN"]) / "examples/spawn_limit"


def version():
    return "posix_spawn" if "CSYNC_BENCH_BIN" in os.environ and program().exists() else None


def spawn(*command):
    return lambda directory, n: Run([str(program()), str(n), "2", *command])


WORKLOADS = {
    "true": [("spawn limit", spawn("true"), None)],
    "bash": [("spawn limit", spawn("bash", "-c", "true"), None)],
    "chain": [("spawn limit", lambda directory, n: Run([str(program()), str(n), "1", "true"]), None)],
}


def LATENCY():
    return [("bash -c true", ["bash", "-c", "true"], {})]
