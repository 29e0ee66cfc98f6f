#!/usr/bin/env python3
"""A person at a terminal: runs a program on a terminal of its own, and types keys where certain words come up.

usage: person.py STEPS.json SCREEN.txt COMMAND...

STEPS is a list of [WORDS, KEYS]: when WORDS have come up since the last step (blanks do not count: programs that draw move the
cursor instead), KEYS are typed; a list instead of a text is a command that is run then. SCREEN.txt gets all that came up, without
colors. Ends with 0 when the program does; a step that does not come about within 120 seconds ends it with 1.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

steps, screen = json.load(open(sys.argv[1])), sys.argv[2]
CONTROL = re.compile(rb"\x1b\[[0-9;?<>=]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b[@-_a-z]|[\x00-\x08\x0b-\x1f]")

child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[3], sys.argv[3:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))

whole, since = b"", b""
until = time.monotonic() + 120
# When what is waited for came up, and whether the screen has been still since: programs that draw listen when they are done.
seen, still = None, False


def squeezed(text):
    return re.sub(rb"\s", b"", CONTROL.sub(b"", text))


def leave(*_):
    open(screen, "wb").write(CONTROL.sub(b" ", whole))
    missing = "".join(f"never came up: {words}\n" for words, _ in steps)
    sys.stderr.write(missing)
    os._exit(1 if missing else 0)


signal.signal(signal.SIGTERM, leave)
while True:
    if steps and seen is None and squeezed(steps[0][0].encode()) in squeezed(since):
        seen, still = time.monotonic(), False
    if seen is not None and (still or time.monotonic() > seen + 5):
        keys = steps.pop(0)[1]
        if isinstance(keys, list):
            subprocess.run(keys, check=True)
        else:
            os.write(terminal, keys.encode())
        since, until, seen = b"", time.monotonic() + 120, None
    if time.monotonic() > until:
        os.kill(child, 9)
        break
    ready, _, _ = select.select([terminal], [], [], 0.5)
    still = not ready
    if ready:
        try:
            came = os.read(terminal, 65536)
        except OSError:
            came = b""
        if not came:
            break
        whole, since = whole + came, since + came

os.close(terminal)
os.waitpid(child, 0)
leave()
