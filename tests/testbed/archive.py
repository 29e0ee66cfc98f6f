"""Writes an image as `docker save` does, without Docker: a busybox, the libraries that it needs, and names for its commands.

    archive.py BUSYBOX OUT NAME [COMMAND...]

ARCH in the environment says what machine it is for.
"""
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile

busybox, out, name, *commands = sys.argv[1:]


def add(tar, path, data):
    info = tarfile.TarInfo(path)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as tar:
    for directory in ("bin", "etc", "tmp"):
        info = tarfile.TarInfo(directory)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    # One that is linked statically has none.
    libraries = re.findall(r"/\S+", subprocess.run(["ldd", busybox], capture_output=True, text=True).stdout)
    for source, target in [(busybox, "bin/busybox"), *((path, path.lstrip("/")) for path in libraries)]:
        with open(source, "rb") as file:
            info = tarfile.TarInfo(target)
            info.mode, data = 0o755, file.read()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    for command in ("sh", "cat", "echo", *commands):
        info = tarfile.TarInfo("bin/" + command)
        info.type, info.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(info)
layer = layer.getvalue()
config = {
    "architecture": os.environ.get("ARCH", "amd64"),
    "os": "linux",
    "config": {"Env": ["PATH=/bin"]},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
}
config = json.dumps(config).encode()
config_name = hashlib.sha256(config).hexdigest() + ".json"
manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
with tarfile.open(out, "w") as tar:
    add(tar, "layer.tar", layer)
    add(tar, config_name, config)
    add(tar, "manifest.json", manifest)
