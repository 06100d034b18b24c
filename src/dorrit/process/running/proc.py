"""What the kernel shows of a process by which it can be told from another one with its number.

A number is not an identity: when a process has ended, another gets its pid. All of this is
of proc(5).
"""

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")

LISTENS: Final = 0x10000
"""__SO_ACCEPTCON, in the flags of /proc/net/unix."""


def start_time(pid: int) -> str | None:
    """Return when a process was started, in clock ticks since the boot; None: it can't be seen.

    proc(5), of /proc/PID/stat: "(22) starttime". With it a pid means one process. The second field,
    the program's name in brackets, may have anything in it.
    """
    with suppress(OSError, IndexError):
        text = (PROC / str(pid) / "stat").read_text("utf-8", "replace")
        return text.rpartition(")")[2].split()[19]
    return None


def user_ids(pid: int) -> set[int] | None:
    """Return the real, effective, saved and file system user id; None: they can't be seen."""
    return {int(number) for number in _words(pid, "Uid")} or None


def numbers_of(pid: int) -> list[int]:
    """Return the pids of a process, here and in each PID namespace below this one."""
    return [int(number) for number in _words(pid, "NSpid")] or [pid]


def is_pending(pid: int, number: int) -> bool:
    """Tell whether a signal that was sent to a process waits there; False: it can't be seen."""
    return any(
        int(found, 16) >> (number - 1) & 1
        for field in ("SigPnd", "ShdPnd")
        for found in _words(pid, field)
    )


def holds_lock(pid: int, device: int, inode: int) -> bool | None:
    """Tell whether a process has a descriptor through which a file is locked (flock(2)).

    proc(5), of /proc/PID/fdinfo: "lock:" lines, for the locks that a file descriptor holds.

    Args:
        pid: The process.
        device: The file's.
        inode: The file's.

    Returns:
        None: the system doesn't show it, or not to this user.
    """
    folder = PROC / str(pid)
    descriptors = _descriptors(folder)
    if descriptors is None:
        return None
    for descriptor in descriptors:
        with suppress(OSError):
            status = (folder / "fd" / descriptor).stat()
            if (status.st_dev, status.st_ino) == (device, inode):
                information = (folder / "fdinfo" / descriptor).read_text(encoding="ascii")
                if re.search(r"^lock:.* FLOCK ", information, re.MULTILINE):
                    return True
    return False


def holds_socket(pid: int, path: str) -> bool | None:
    """Tell whether a process has a descriptor of a socket that listens at a path.

    Args:
        pid: The process.
        path: As the socket was bound to it.

    Returns:
        None: the system doesn't show it, or not to this user.
    """
    folder = PROC / str(pid)
    descriptors = _descriptors(folder)
    if descriptors is None:
        return None
    listening = set()
    with suppress(OSError):
        # Num, RefCount, Protocol, Flags, Type, St, Inode, Path; of that process's network namespace
        for line in (folder / "net" / "unix").read_bytes().splitlines()[1:]:
            _, _, _, flags, _, _, inode, *name = line.split(None, 7)
            if name == [os.fsencode(path)] and int(flags, 16) & LISTENS:
                listening.add(f"socket:[{inode.decode()}]")
    for descriptor in descriptors:
        with suppress(OSError):
            if str((folder / "fd" / descriptor).readlink()) in listening:
                return True
    return False


def is_shown() -> bool:
    """Tell whether the system shows such things of its processes at all: FreeBSD does not."""
    return sys.platform == "linux"


def _words(pid: int, field: str) -> list[bytes]:
    """Return what a line of /proc/PID/status says."""
    with suppress(OSError):
        for line in (PROC / str(pid) / "status").read_bytes().splitlines():
            name, _, rest = line.partition(b":")
            if name == field.encode():
                return rest.split()
    return []


def _descriptors(folder: Path) -> list[str] | None:
    try:
        return [entry.name for entry in (folder / "fd").iterdir()]
    except OSError:
        return None
