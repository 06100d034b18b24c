"""Descriptors that the process was started with.

A daemon must not keep them (R22), and the next image gets them again (R28).
"""

import fcntl
import os
import resource
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

STANDARD_STREAMS: Final = 3
"""0, 1 and 2."""

LISTS: Final = ("/proc/self/fd", "/dev/fd")
"""Where a system may list a process's own descriptors."""

SEARCHED: Final = 65536
"""How many are looked at where the system has no list of them (FreeBSD without fdescfs(5))."""


def open_standard_streams() -> None:
    """Open /dev/null for each of stdin, stdout and stderr that is closed.

    To be called first of all. Otherwise the socket may become descriptor 2, and get every error
    message that is written to it.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor < STANDARD_STREAMS:
        os.set_inheritable(descriptor, True)
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)


class Inherited:
    """The descriptors above 2 that whoever started the process has left open in it.

    They can be told from those of Python and of its modules: what execv(2) has let through has no
    close-on-exec flag, and what Python opens has one (PEP 446). They are noted first of all and
    closed in the daemon, since ``ws_init_func`` may need one until then: a shell's
    ``-f <(command)`` is the name of such a descriptor.
    """

    def __init__(self, keep: Collection[int] = ()) -> None:
        """Note them.

        Args:
            keep: Those that are meant for the server: the sockets of a service manager, what a
                previous image has left.
        """
        self._files = {
            descriptor: file
            for descriptor, file in inheritable_descriptors().items()
            if descriptor not in keep
        }

    def close(self) -> list[int]:
        """Close those that still are what they were; return them."""
        closed = [
            descriptor
            for descriptor, file in sorted(self._files.items())
            if _inheritable_file(descriptor) == file
        ]
        for descriptor in closed:
            os.close(descriptor)
        self._files.clear()
        return closed


def inheritable_descriptors() -> dict[int, tuple[int, int, int]]:
    """Return those above 2 that are not closed on exec, and what tells their files from others."""
    return {
        descriptor: file
        for descriptor in _open_descriptors()
        if (file := _inheritable_file(descriptor)) is not None
    }


def _inheritable_file(descriptor: int) -> tuple[int, int, int] | None:
    """Return what tells a descriptor's file from others; None if it would be closed on exec."""
    try:
        if fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
            return None
        status = os.fstat(descriptor)
    except OSError:  # it is closed
        return None
    return status.st_dev, status.st_ino, status.st_mode


def _open_descriptors() -> Iterator[int]:
    """Return all above 2, and perhaps some that are not open."""
    for place in LISTS:
        if not Path(place).is_dir():
            continue
        numbers = [int(entry.name) for entry in Path(place).iterdir() if entry.name.isdigit()]
        # A list shows at least the one that it is read with. Without fdescfs(5), FreeBSD's /dev/fd
        # has 0, 1 and 2 only.
        if max(numbers, default=0) >= STANDARD_STREAMS:
            yield from (number for number in numbers if number >= STANDARD_STREAMS)
            return
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield from range(
        STANDARD_STREAMS, SEARCHED if limit == resource.RLIM_INFINITY else min(limit, SEARCHED)
    )
