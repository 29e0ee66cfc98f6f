"""ninja: no journal, no record of usage; what a workflow costs at least."""

import shutil
import subprocess

import workloads
from measure import Run

NAME = "ninja"
DEBIAN = ("ninja-build",)
RULES = "rule true\n command = true\nrule cat\n command = cat $in > $out\nrule touch\n command = touch $out\n"


def version():
    if not shutil.which("ninja"):
        return None
    return subprocess.run(["ninja", "--version"], capture_output=True, text=True).stdout.strip()


def write(directory, builds):
    (directory / "build.ninja").write_text(RULES + "".join(f"build {line}\n" for line in builds))


def true(directory, n):
    write(directory, (f"t{i}: true" for i in range(n)))
    return Run(["ninja", "-j2"])


def chain(directory, n):
    write(directory, ["t0: true", *(f"t{i}: true t{i - 1}" for i in range(1, n))])
    return Run(["ninja", "-j2"])


def layers(directory, width):
    write(directory, (f"{name}: cat {' '.join(reads)}" for name, reads in workloads.layers(width)))
    return Run(["ninja", "-n"])


def again(directory, n):
    (directory / "source").write_text("source\n")
    write(directory, (f"out/{i}: touch source" for i in range(n)))
    return Run(["ninja", "-j2"], setup=[["ninja", "-j2"]])


WORKLOADS = {
    "true": [("ninja (through sh)", true, None)],
    "chain": [("ninja", chain, None)],
    "layers": [("ninja", layers, None)],
    "again": [("ninja", again, None)],
}
