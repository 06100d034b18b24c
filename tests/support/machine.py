"""A machine of its own for each process that runs tests: network, /run and /dev (namespaces(7)).

Tests that run beside each other don't meet then, nor do they meet what runs on the machine: a
syslog, a web server, daemons. Where this is not allowed (who is not root, many containers) they
run on the machine as it is: ports are free ones, names are random, and there is one log daemon at
a time.
"""

import ctypes
import fcntl
import os
import shutil
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

CLONE_NEWNS = 0x0002_0000
CLONE_NEWNET = 0x4000_0000
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
MOUNTED = ("pts", "shm", "mqueue")
"""What /dev has that is mounted by itself."""

_networks: list[int] = []
"""Descriptors of the machine's network, if this process has another."""


def _call(name: str, *arguments: str | int | None) -> None:
    """Call a function of the C library that returns 0, or sets errno."""
    library = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) if isinstance(word, str) else word for word in arguments]
    if getattr(library, name)(*words) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str | Path, target: str | Path, kind: str | None, flags: int) -> None:
    _call("mount", str(source), str(target), kind, flags, "mode=755" if kind == "tmpfs" else None)


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def _make_run() -> None:
    _mount("tmpfs", Path("/var/run").resolve(), "tmpfs", 0)
    lock = Path("/var/run/lock")
    lock.mkdir()
    lock.chmod(0o1777)


def _make_dev() -> None:
    """A /dev without a log daemon, in which one can be put."""
    old, new = Path("/dev"), Path(tempfile.mkdtemp())
    _mount("tmpfs", new, "tmpfs", 0)
    for name in DEVICES:
        (new / name).touch()
        _mount(old / name, new / name, None, MS_BIND)
    for name in MOUNTED:
        if (old / name).is_dir():
            (new / name).mkdir()
            _mount(old / name, new / name, None, MS_BIND | MS_REC)
    _make_ptmx(old, new / "ptmx")
    for name, target in {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}.items():
        (new / name).symlink_to(f"/proc/self/{target}")
    _mount(new, old, None, MS_MOVE)
    shutil.rmtree(new)


def _make_ptmx(old: Path, path: Path) -> None:
    """What makes terminals; that of devpts often has the mode 000, so that only root may use it."""
    try:
        os.mknod(path, stat.S_IFCHR, (old / "ptmx").stat().st_rdev)
        path.chmod(0o666)
    except OSError:  # there is none, or root may not make devices in this container
        path.symlink_to("pts/ptmx" if (old / "pts/ptmx").exists() else "/dev/pts/ptmx")


def take_own_machine() -> bool:
    """Give this process, and those that it will start, one; return whether that is allowed."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    network = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        _call("unshare", CLONE_NEWNS | CLONE_NEWNET)
    except OSError:
        os.close(network)
        return False
    _networks.append(network)
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _bring_loopback_up()
    _make_run()
    _make_dev()
    return True


def machines_network() -> Callable[[], None] | None:
    """What a child process calls to be in the machine's own network (`preexec_fn`), if it isn't."""
    if not _networks:
        return None
    library = ctypes.CDLL(None, use_errno=True)
    network = _networks[0]

    def enter() -> None:
        if library.setns(network, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    return enter
