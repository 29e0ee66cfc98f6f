"""GNU make: no journal, no record of usage."""

import shutil
import subprocess

import workloads
from measure import Run

NAME = "make"
DEBIAN = ("make",)


def version():
    if not shutil.which("make"):
        return None
    return subprocess.run(["make", "--version"], capture_output=True, text=True).stdout.splitlines()[0]


def write(directory, goals, rules):
    (directory / "Makefile").write_text(f"all: {' '.join(goals)}\n" + "".join(rules))


def true(directory, n):
    goals = [f"t{i}" for i in range(n)]
    write(directory, goals, [f".PHONY: {' '.join(goals)}\n", f"{' '.join(goals)}:\n\t@true\n"])
    return Run(["make", "-j2"])


def chain(directory, n):
    rules = [f".PHONY: {' '.join(f't{i}' for i in range(n))}\n", "t0:\n\t@true\n"]
    write(directory, [f"t{n - 1}"], rules + [f"t{i}: t{i - 1}\n\t@true\n" for i in range(1, n)])
    return Run(["make", "-j2"])


def layers(directory, width):
    tasks = list(workloads.layers(width))
    write(directory, (name for name, _ in tasks), (f"{name}: {' '.join(reads)}\n\tcat $^ > $@\n" for name, reads in tasks))
    return Run(["make", "-n"])


def again(directory, n):
    (directory / "source").write_text("source\n")
    (directory / "out").mkdir()
    goals = [f"out/{i}" for i in range(n)]
    write(directory, goals, [f"{goal}: source\n\t@touch $@\n" for goal in goals])
    return Run(["make", "-j2"], setup=[["make", "-j2"]])


WORKLOADS = {
    "true": [("make", true, (10_000, 10_000))],
    "chain": [("make", chain, None)],
    "layers": [("make", layers, None)],
    "again": [("make", again, None)],
}
