"""csync: engine, worker and client are all counted."""

import os
import pathlib
import subprocess
import tempfile

import workloads
from measure import Run

NAME = "csync"
HEAD = 'name = "bench"\nschema = 1\n'


def program():
    return str(pathlib.Path(os.environ["CSYNC_BENCH_BIN"]) / "csync")


def version():
    if "CSYNC_BENCH_BIN" not in os.environ:
        return None
    found = subprocess.run([program(), "--version"], capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else None


def env(directory):
    return {"CSYNC_STATE": str(directory / "state"), "CSYNC_CPUS": "2", "CSYNC_IDLE": "600"}


def submit(directory, text, *options, **more):
    (directory / "workflow.toml").write_text(HEAD + text)
    command = [program(), "submit", "-q", *options, "workflow.toml"]
    return Run(command, stop=[program(), "engine", "stop"], env=env(directory), **more)


def numbers(n):
    return "[" + ",".join(str(i) for i in range(1, n + 1)) + "]"


def true(directory, n):
    return submit(directory, f'[tasks.t]\nforeach = {numbers(n)}\nrun = ["true"]\n')


def bash(directory, n):
    return submit(directory, f'[tasks.t]\nforeach = {numbers(n)}\nrun = "true"\n')


def chain(directory, n):
    tasks = ['[tasks.t0]\nrun = ["true"]\n']
    tasks += [f'[tasks.t{i}]\nneeds = ["t{i - 1}"]\nrun = ["true"]\n' for i in range(1, n)]
    return submit(directory, "".join(tasks))


def layers(directory, width):
    tasks = []
    for name, reads in workloads.layers(width):
        inputs = f"inputs = [{', '.join(repr(read) for read in reads)}]\n" if reads else ""
        tasks.append(f'[tasks.{name}]\n{inputs}outputs = ["{name}"]\nrun = "cat {{inputs}} > {{outputs[0]}}"\n')
    text = "".join(tasks).replace("cat {inputs} > {outputs[0]}", "cat {inputs} /dev/null > {outputs[0]}")
    run = submit(directory, text, "--dry-run")
    run.stop = None
    return run


def files(directory, n):
    (directory / "source").write_text("source\n")
    return f'[tasks.t]\nforeach = {numbers(n)}\ninputs = ["source"]\noutputs = ["out/{{item}}"]\nrun = ["touch", "{{outputs[0]}}"]\n'


def again(directory, n):
    run = submit(directory, files(directory, n))
    run.setup = [run.command, run.stop]
    return run


def again_up(directory, n):
    run = submit(directory, files(directory, n), repeat=10)
    run.setup = [run.command]
    return run


def expand(*command):
    def prepare(directory, n):
        (directory / "rows.csv").write_text("id\n" + "".join(f"{i}\n" for i in range(n // 2)))
        text = (
            '[tasks.a]\nforeach = { csv = "rows.csv" }\noutputs = ["a/{item.id}"]\nrun = "touch {outputs[0]}"\n'
            '[tasks.b]\nforeach = { csv = "rows.csv" }\ninputs = ["a/{item.id}"]\noutputs = ["b/{item.id}"]\n'
            'run = "cp {inputs[0]} {outputs[0]}"\n'
        )
        (directory / "workflow.toml").write_text(HEAD + text)
        return Run([program(), *command, "workflow.toml"], env=env(directory))

    return prepare


WORKLOADS = {
    "true": [("csync", true, None)],
    "bash": [("csync", bash, None)],
    "chain": [("csync", chain, None)],
    "layers": [("csync", layers, None)],
    "again": [("csync", again, None), ("csync, engine up", again_up, None)],
    "expand": [("csync check", expand("check"), None), ("csync submit --dry-run", expand("submit", "-q", "--dry-run"), None)],
}

UP = []


def LATENCY():
    state = tempfile.TemporaryDirectory(prefix="csync-bench-")
    directory = pathlib.Path(state.name)
    UP.append(state)
    subprocess.run([program(), "run", "true"], env={**os.environ, **env(directory)}, cwd=directory, stdout=subprocess.DEVNULL)
    return [
        ("csync --version", [program(), "--version"], {}),
        ("csync status", [program(), "status"], env(directory)),
    ]


def latency_over():
    for state in UP:
        subprocess.run([program(), "engine", "stop"], env={**os.environ, **env(pathlib.Path(state.name))}, stdout=subprocess.DEVNULL)
        state.cleanup()
