"""Snakemake, at the sizes that it bears."""

import subprocess

import workloads
from install import VENV
from measure import Run

NAME = "snakemake"
PYPI = ("snakemake",)


def version():
    try:
        found = subprocess.run([VENV / "bin/snakemake", "--version"], capture_output=True, text=True)
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def command(directory, *options):
    return [str(VENV / "bin/snakemake"), "--cores", "2", "--quiet", *options]


def layers(directory, width):
    tasks = list(workloads.layers(width))
    rules = [f"rule all:\n    input: {', '.join(repr(name) for name, _ in tasks)}\n"]
    for name, reads in tasks:
        inputs = f"    input: {', '.join(repr(read) for read in reads)}\n" if reads else ""
        rules.append(f"rule {name}:\n{inputs}    output: {name!r}\n    shell: 'cat {{input}} > {{output}}'\n")
    (directory / "Snakefile").write_text("".join(rules))
    return Run(command(directory, "--dry-run"))


def again(directory, n):
    (directory / "source").write_text("source\n")
    (directory / "Snakefile").write_text(
        f"rule all:\n    input: expand('out/{{i}}', i=range({n}))\n"
        "rule touch:\n    input: 'source'\n    output: 'out/{i}'\n    shell: 'touch {output}'\n"
    )
    return Run(command(directory), setup=[command(directory)])


WORKLOADS = {
    "layers": [("snakemake", layers, (100, 1_000))],
    "again": [("snakemake", again, (100, 1_000))],
}
