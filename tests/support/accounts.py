"""Users that exist while a test runs, which takes root."""

import contextlib
import fcntl
import os
import secrets
import subprocess
from collections.abc import Iterator


def _change(*command: str) -> None:
    """Run a command that changes /etc/passwd: one at a time, or it gives up."""
    alone = os.open("/etc", os.O_RDONLY)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX)
        subprocess.run(command, check=True)
    finally:
        os.close(alone)


@contextlib.contextmanager
def account(*options: str) -> Iterator[str]:
    """A user of its own; its options are those of useradd(8)."""
    name = f"test{secrets.token_hex(4)}"
    _change("useradd", "-M", *options, name)
    try:
        yield name
    finally:
        _change("userdel", name)
