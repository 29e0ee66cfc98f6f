"""Installs the peers that are missing."""

import importlib
import os
import pathlib
import subprocess
import sys

VENV = pathlib.Path(os.environ.get("CSYNC_PEERS_VENV", pathlib.Path.home() / ".cache/csync-peers"))


def install(here):
    tools = [importlib.import_module(f"tools.{path.stem}") for path in sorted((here / "tools").glob("[!_]*.py"))]
    missing = [tool for tool in tools if tool.version() is None]
    debian = sorted({package for tool in missing for package in getattr(tool, "DEBIAN", ())})
    pypi = sorted({package for tool in missing for package in getattr(tool, "PYPI", ())})
    if debian:
        sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*sudo, "apt-get", "-y", "-q", "update"], env=env, check=False, stdout=subprocess.DEVNULL)
        subprocess.run([*sudo, "apt-get", "-y", "-q", "install", "--no-install-recommends", *debian], env=env, check=True)
    if pypi:
        if not (VENV / "bin/python").exists():
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run([str(VENV / "bin/python"), "-m", "pip", "install", "-q", *pypi], check=True)
