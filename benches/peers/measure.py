"""Runs a command and all that it leaves behind, and counts what they used."""

import ctypes
import dataclasses
import json
import os
import platform
import resource
import select
import signal
import statistics
import subprocess
import time

LIBC = ctypes.CDLL(None)
PR_SET_CHILD_SUBREAPER = 36
# kcmp(2), which no library wraps.
SYS_KCMP = {"x86_64": 312, "aarch64": 272}.get(platform.machine())
KCMP_VM = 1
TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A tool could not do what it was asked."""


@dataclasses.dataclass
class Run:
    """A command to measure. What `setup` uses is not counted; what `stop` and the processes it ends use is."""

    command: list
    setup: list = dataclasses.field(default_factory=list)
    stop: list = None
    env: dict = dataclasses.field(default_factory=dict)
    repeat: int = 1


def measure(run, directory, watch_memory, timeout):
    """Measures in a process of its own, which inherits every process that detaches itself."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            result = measured(run, directory, watch_memory, timeout)
        except Exception as error:  # whatever it is, the parent shows it
            result = {"error": f"{type(error).__name__}: {error}"}
        os.write(writer, json.dumps(result).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    result = json.loads(text or '{"error": "the measuring process died"}')
    if "error" in result:
        raise Failed(result["error"])
    return result


def measured(run, directory, watch_memory, timeout):
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    deadline = time.monotonic() + timeout
    env = {**os.environ, **run.env}

    def call(command, watch=False):
        with open(os.path.join(directory, "bench.err"), "ab") as errors:
            child = subprocess.Popen(
                command, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
            )
        peak = wait_watching(child, deadline) if watch else wait(child, deadline)
        if child.returncode != 0:
            tail = open(os.path.join(directory, "bench.err"), errors="replace").read()[-500:]
            raise Failed(f"`{' '.join(command)[:120]}` exited with {child.returncode}: {tail}")
        return peak

    peak = 0
    try:
        for command in run.setup:
            call(command)
        used_before = cpu_of_children()
        began = time.monotonic()
        for _ in range(run.repeat):
            peak = max(peak, call(run.command, watch_memory) or 0)
        wall = (time.monotonic() - began) / run.repeat
        # With a server that stays, its time so far is read from /proc; else everything ends and is counted to the microsecond.
        if run.repeat > 1:
            cpu = (cpu_of_children() - used_before) / run.repeat
        if run.stop:
            call(run.stop)
        reap(deadline)
        if run.repeat == 1:
            cpu = cpu_of_children() - used_before
    finally:
        end_all()
    result = {"cpu": cpu, "wall": wall}
    if watch_memory:
        result["peak_mb"] = peak / 1024
    return result


def wait(child, deadline):
    # `Popen.wait` with a timeout looks 20 times a second: everything would take a multiple of 50 ms.
    process = os.pidfd_open(child.pid)
    try:
        if not select.select([process], [], [], max(0.1, deadline - time.monotonic()))[0]:
            raise Failed("took too long")
    finally:
        os.close(process)
    child.wait()


def wait_watching(child, deadline):
    """Waits and returns the largest sum of the peaks of the processes that live, in KiB."""
    peak, began = 0, time.monotonic()
    while child.poll() is None:
        peak = max(peak, peaks())
        # What is over in milliseconds must be seen too.
        if time.monotonic() - began > 0.1:
            time.sleep(0.004)
        if time.monotonic() > deadline:
            raise Failed("took too long")
    return max(peak, peaks())


def peaks():
    """The sum of the peaks of all processes below this one. One that still runs on its parent's memory, between vfork
    and exec, has none of its own."""
    own = (pid for parent, pid in families(os.getpid()) if not shares_memory(parent, pid))
    return sum(peak_of(pid) for pid in own)


def shares_memory(one, other):
    return SYS_KCMP is not None and LIBC.syscall(SYS_KCMP, one, other, KCMP_VM, 0, 0) == 0


def families(pid):
    """The processes below one, each with its parent."""
    for child in children(pid):
        yield pid, child
        yield from families(child)


def descendants(pid):
    return [child for _, child in families(pid)]


def children(pid):
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as listed:
                found.extend(int(child) for child in listed.read().split())
    except OSError:
        pass
    return found


def peak_of(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def cpu_of_children():
    """CPU seconds of all children that are over, and so far of those that live."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = used.ru_utime + used.ru_stime
    for pid in descendants(os.getpid()):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
                total += sum(int(field) for field in fields[11:15]) / TICK
        except OSError:
            pass
    return total


def reap(deadline):
    """Waits for the processes that detached themselves, so that their time is counted."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            if time.monotonic() > deadline:
                raise Failed("left processes behind")
            time.sleep(0.01)


def end_all():
    """Nothing of a tool may run into the next measurement."""
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    try:
        while os.waitpid(-1, 0):
            pass
    except ChildProcessError:
        pass


def latency(tools, times):
    """Wall of short commands, run in turn; medians."""
    commands = [(label, command, env) for tool in tools for label, command, env in getattr(tool, "LATENCY", list)()]
    found = {label: [] for label, _, _ in commands}
    for _ in range(times):
        for label, command, env in commands:
            began = time.perf_counter()
            code = subprocess.run(
                command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ).returncode
            if code == 0:
                found[label].append(time.perf_counter() - began)
    for tool in tools:
        getattr(tool, "latency_over", lambda: None)()
    return {
        label: {"wall": statistics.median(walls), "cpu": 0.0, "peak_mb": 0.0, "repetitions": len(walls)}
        for label, walls in found.items()
        if walls
    }
