"""xargs: starts processes and forgets them."""

import shutil

from measure import Run

NAME = "xargs"
DEBIAN = ("findutils",)


def version():
    return "GNU findutils" if shutil.which("xargs") else None


def each(*command):
    def prepare(directory, n):
        (directory / "list").write_text("".join(f"{i}\n" for i in range(n)))
        return Run(["xargs", "-a", "list", "-P", "2", "-n", "1", *command])

    return prepare


WORKLOADS = {
    "true": [("xargs", each("true"), None)],
    "bash": [("xargs", each("bash", "-c", "true"), None)],
}
