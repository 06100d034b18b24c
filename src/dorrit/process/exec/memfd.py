"""Files in memory: what a process writes for its next image, and what has no place on a disk."""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path


def nameless_file(purpose: str) -> int:
    """Make a file in memory that has no name; return its descriptor, which exec closes.

    Raises:
        OSError: There is no memory, or no directory for temporary files.
    """
    if sys.platform == "linux" and hasattr(os, "memfd_create"):
        return os.memfd_create(f"dorrit-{purpose}")
    # Elsewhere such a file may count as one that has a name.
    # Not by the module tempfile: its import would prolong every restart, on systems with memfd too.
    directory = os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - nobody can guess the name
    path = Path(directory, f"dorrit-{purpose}-{os.urandom(16).hex()}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    path.unlink()
    return descriptor


def unshrinkable_file(purpose: str) -> int:
    """Make one as `nameless_file` does that nobody can make shorter, where the system has that.

    Whoever has a file in memory is ended by SIGBUS when he touches what somebody has cut off.

    Raises:
        OSError: There is no memory, or no directory for temporary files.
    """
    if not hasattr(os, "MFD_ALLOW_SEALING") or not hasattr(fcntl, "F_SEAL_SHRINK"):
        return nameless_file(purpose)
    try:
        descriptor = os.memfd_create(f"dorrit-{purpose}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return nameless_file(purpose)  # a kernel, or what stands in for one, that has no seals
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return descriptor
