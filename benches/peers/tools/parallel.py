"""GNU parallel, with its job log: the record that its --resume reads."""

import shutil
import subprocess

from measure import Run

NAME = "parallel"
DEBIAN = ("parallel",)


def version():
    if not shutil.which("parallel"):
        return None
    return subprocess.run(["parallel", "--version"], capture_output=True, text=True).stdout.splitlines()[0]


def true(directory, n):
    (directory / "list").write_text("".join(f"{i}\n" for i in range(n)))
    return Run(["parallel", "--will-cite", "-j2", "--joblog", "log", "-a", "list", "true"])


WORKLOADS = {"true": [("GNU parallel --joblog", true, (1_000, 10_000))]}
