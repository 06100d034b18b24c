"""What Linux says about a process (proc(5))."""

import os
import re
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import AnyStr

CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapAmb")


def status(pid: int | str) -> dict[str, list[str]]:
    """The fields of /proc/PID/status, each split into words."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def words(pid: int) -> list[str]:
    """The command line of a process; none, if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    return []


def is_gone(pid: int) -> bool:
    """Whether a process has ended, though its parent may not have asked for its status."""
    try:
        return status(pid)["State"][0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


SYSTEM_CALLS = {
    "7": "poll",
    "35": "nanosleep",
    "230": "clock_nanosleep",
    "232": "epoll_wait",
    "281": "epoll_pwait",
    "441": "epoll_pwait2",
}
"""Those in which a process sleeps, by their numbers on x86-64."""


def waits_in(pid: int) -> str | None:
    """The system call of `SYSTEM_CALLS` in which a process sleeps, or None."""
    return SYSTEM_CALLS.get(Path(f"/proc/{pid}/syscall").read_text().split()[0])


def stat(pid: int) -> dict[str, int]:
    """Its parent, process group, session and controlling terminal (0: none)."""
    words = _words_of_stat(pid)[1:5]
    return dict(zip(("parent", "group", "session", "terminal"), map(int, words), strict=True))


def _words_of_stat(pid: int) -> list[str]:
    """What proc_pid_stat(5) tells of it, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def children(pid: int) -> set[int]:
    """Its children that have not ended, whichever of its threads has forked them."""
    found = set()
    for entry in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            found |= set(map(int, (entry / "children").read_text().split()))
    return {child for child in found if not is_gone(child)}


def oldest(pids: Iterable[int]) -> int:
    """The process that was started first: the worker that serves, of those of a supervisor."""
    started = {}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            started[pid] = int(_words_of_stat(pid)[19])
    return min(started, key=lambda pid: (started[pid], pid))


def descriptors(pid: int) -> dict[int, str]:
    """What each of its descriptors is of."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has been closed meanwhile
            found[int(entry.name)] = str(entry.readlink())
    return found


def private_bytes(pid: int | str = "self") -> int:
    """Bytes of memory that a process has for itself, as proc_pid_smaps(5) counts them."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(map(int, re.findall(r"^Private_\w+: +(\d+) kB", rollup, re.MULTILINE)))


def private_bytes_of(pid: int, name: str) -> int:
    """Those of them that are in mappings of files with such a name."""
    total, is_wanted = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_wanted = name in line
        elif is_wanted and line.startswith("Private_"):
            total += 1024 * int(line.split()[1])
    return total


def ignored_signals(pid: int) -> set[int]:
    mask = int(status(pid)["SigIgn"][0], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def end_group(process: "subprocess.Popen[AnyStr]") -> None:
    """End a process that leads a group, with all that is left of the group.

    SIGTERM first: what is killed loses what was measured of it.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
