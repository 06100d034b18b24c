"""The janitor's own program: see janitor.py. It runs without the package.

Arguments: the server's name; the descriptor to wait for; then, for each name to remove: the
descriptor of its directory, the name, the device and the inode that it must be. Those before the
word "always" go only if the server has said something before its end: that it ends in order. Other
descriptors that it was given, it keeps open until it ends.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

IGNORED = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGPIPE, signal.SIGALRM, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU,
)  # fmt: skip
"""A service manager's SIGTERM to all of a service's processes comes while the server still runs."""

ALWAYS = "always"
"""Stands before those of the names that go however the server ends."""


def main(words: Sequence[str]) -> NoReturn:
    """Wait, remove, end.

    Args:
        words: The arguments.
    """
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    # The parent's end tells the server that this is under way; and a process that is not the
    # server's child never is a surprise to a server that waits for its children.
    if os.fork():
        os._exit(0)
    control, files = int(words[1]), list(words[2:])
    with suppress(OSError), open("/proc/self/comm", "w") as comm:  # noqa: PTH123 - Linux
        comm.write("dorrit-janitor")
    os.write(control, b"\n")
    # Whatever the server does with its end, or has done with it by an attacker, is the end: it
    # could have the same by ending itself.
    told = b""
    with suppress(OSError):
        told = os.read(control, 1)
    first = files.index(ALWAYS)
    files = (files[:first] if told else []) + files[first + 1 :]
    for directory, name, device, inode in zip(*[iter(files)] * 4, strict=True):
        with suppress(OSError):
            status = os.lstat(name, dir_fd=int(directory))
            if (status.st_dev, status.st_ino) == (int(device), int(inode)):
                os.unlink(name, dir_fd=int(directory))
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
