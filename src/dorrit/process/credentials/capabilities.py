"""What is left of privileges in parts: capabilities(7) of Linux, and user namespaces.

A process with the user id 0 need not have all privileges, as in most containers, nor any.
"""

import os
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dorrit.errors import StartError

if TYPE_CHECKING:
    from ctypes import CDLL

SELF: Final = Path("/proc/self")

SETS: Final = (b"CapInh", b"CapPrm", b"CapEff", b"CapAmb")
"""In /proc/PID/status. The bounding set is left: without privileges it is good for nothing."""

NUMBERS: Final = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
}

THREADS_SEEN: Final = 8
"""How many threads an error names."""


def lacks(name: str) -> bool:
    """Tell whether the process is known not to have a capability, one of `NUMBERS`."""
    fields = _status(SELF / "status")
    return b"CapEff" in fields and not int(fields[b"CapEff"], 16) >> NUMBERS[name] & 1


def has_user(uid: int) -> bool:
    """Tell whether there is such a user in this user namespace, see user_namespaces(7)."""
    return _is_mapped(SELF / "uid_map", uid)


def has_group(gid: int) -> bool:
    """Tell whether there is such a group in this user namespace."""
    return _is_mapped(SELF / "gid_map", gid)


def may_set_groups() -> bool:
    """Tell whether this user namespace allows setgroups(2) at all: unshare -r forbids it."""
    try:
        return (SELF / "setgroups").read_bytes().strip() != b"deny"
    except OSError:
        return True


def has_any() -> bool | None:
    """Tell whether the process has any capability; None if that can't be seen, for want of /proc.

    More exactly, the thread that calls has.
    """
    fields = _status(SELF / "status")
    return _has_any(fields) if fields else None


class Capabilities:
    """What a process still has, and gives up. There are none but on Linux.

    setresuid(2) clears the permitted, effective and ambient ones of root; not the inheritable ones,
    which container runtimes may set, and none of a process that was not root.
    """

    def __init__(self) -> None:
        """Load what is needed, while it can be read: the interpreter may be in root's home."""
        self._library: CDLL | None = None
        if sys.platform != "linux":
            return
        # Only here, since it may fail: libffi wants memory that is writable and executable, which
        # a sandbox may refuse. That matters only if some capability is left.
        try:
            import ctypes
        except (ImportError, OSError, MemoryError):
            return
        self._library = ctypes.CDLL(None)
        # Two words each: _LINUX_CAPABILITY_VERSION_3 and the thread, 0 for this one; effective,
        # permitted and inheritable, twice. Ambient ones go with these: "no capability can ever be
        # ambient if it is not both permitted and inheritable".
        self._header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        self._none = (ctypes.c_uint32 * 6)()

    def clear(self) -> None:
        """Give them up, in the thread that calls; see `check_threads` for the others.

        Raises:
            StartError: Some are left.
        """
        if sys.platform != "linux" or has_any() is False:
            return
        if (
            self._library is None
            or self._library.capset(self._header, self._none) != 0
            or has_any()
        ):
            raise StartError("capabilities were not dropped; the server must not go on")


def check_threads(uid: int, gid: int, groups: Collection[int]) -> None:
    """See that each thread of the process is what the process is to be.

    Linux has users, groups and capabilities for each thread. setresuid(3) and its like reach all of
    them, capset(2) does not: what a thread had when it was started, it keeps. What is tried of such
    a thread afterwards ends the process (the C library finds that its threads differ).

    Args:
        uid: The user; of another one than root no thread may have a capability.
        gid: The group.
        groups: All groups.

    Raises:
        StartError: A thread is not.
    """
    different = []
    for number, fields in _threads():
        users = {int(word) for word in fields.get(b"Uid", b"").split()}
        first = {int(word) for word in fields.get(b"Gid", b"").split()}
        others = {int(word) for word in fields.get(b"Groups", b"").split()}
        if (
            users != {uid}
            or first != {gid}
            or others | {gid} != set(groups)
            or (uid != 0 and _has_any(fields))
        ):
            different.append(_name_of(number, fields))
    if different:
        names = ", ".join(sorted(different)[:THREADS_SEEN])
        more = len(different) - THREADS_SEEN
        raise StartError(
            f"privileges were not dropped in threads that run already: {names}"
            + (f" and {more} more" if more > 0 else "")
            + "; users, groups and capabilities are each thread's own. Start threads only when "
            "privileges are gone: in an on_start handler, or at the first client"
        )


def _threads() -> Iterator[tuple[int, dict[bytes, bytes]]]:
    """Return each thread's number and status; nothing where there is no /proc.

    A thread gets all of this from the one that starts it. So who is seen in one pass in which none
    came or went is all there are; and one that comes later comes from one that was seen.
    """
    seen: dict[int, dict[bytes, bytes]] = {}
    while True:
        before = _numbers()
        for number in before:
            if number not in seen:
                seen[number] = _status(SELF / "task" / str(number) / "status")
        if _numbers() <= set(seen):
            break
    for number, fields in seen.items():
        if fields:  # it has not ended meanwhile
            yield number, fields


def _numbers() -> set[int]:
    try:
        return {int(entry.name) for entry in (SELF / "task").iterdir()}
    except OSError:
        return set()


def _name_of(number: int, fields: dict[bytes, bytes]) -> str:
    for thread in threading.enumerate():
        if thread.native_id == number:
            return f"{thread.name} ({number})"
    return f"{os.fsdecode(fields.get(b'Name', b'').strip())} ({number}, not of Python)"


def _has_any(fields: dict[bytes, bytes]) -> bool:
    return any(int(fields.get(name, b"0"), 16) for name in SETS)


def _status(path: Path) -> dict[bytes, bytes]:
    with suppress(OSError):
        lines = path.read_bytes().splitlines()
        return dict(line.split(b":", 1) for line in lines if b":" in line)
    return {}


def _is_mapped(path: Path, number: int) -> bool:
    """Look a number up in a map: each line is the first number inside, that outside, how many."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return True
    ranges = [[int(word) for word in line.split()] for line in lines]
    return any(first <= number < first + count for first, _, count in ranges)
