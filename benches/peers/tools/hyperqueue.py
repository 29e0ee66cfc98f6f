"""HyperQueue as PyPI has it: server and worker inside one Python process, which keeps no journal and no output here; that is
less work than the `hq` program does with a journal, and less than csync does."""

import subprocess

from install import VENV
from measure import Run

NAME = "hyperqueue"
PYPI = ("hyperqueue",)

SCRIPT = """
import os, sys
import hyperqueue.client
from hyperqueue import Job
from hyperqueue.cluster import LocalCluster, WorkerConfig
hyperqueue.client.create_progress_callback = lambda: lambda jobs: None
shape, n = sys.argv[1], int(sys.argv[2])
with LocalCluster(server_dir=os.path.abspath("server"), worker_config=WorkerConfig(cores=2)) as cluster:
    client, job, last = cluster.client(), Job(), ()
    for _ in range(n):
        task = job.program(["true"], stdout=None, stderr=None, deps=last)
        if shape == "chain":
            last = (task,)
    client.wait_for_jobs([client.submit(job)])
"""


def version():
    code = "import importlib.metadata; print(importlib.metadata.version('hyperqueue'))"
    try:
        found = subprocess.run([VENV / "bin/python", "-c", code], capture_output=True, text=True)
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def shape(name):
    def prepare(directory, n):
        (directory / "tasks.py").write_text(SCRIPT)
        return Run([str(VENV / "bin/python"), "tasks.py", name, str(n)])

    return prepare


WORKLOADS = {
    "true": [("hyperqueue", shape("flat"), (10_000, 100_000))],
    "chain": [("hyperqueue", shape("chain"), None)],
}
