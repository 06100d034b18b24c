"""Who holds a lock of `dorrit.process.files.lock`, as somebody else sees it."""

import fcntl
import os
from pathlib import Path


def holder(path: str | Path) -> int | None:
    """The pid in the file of a lock that is held; None if nobody holds it, or has written one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 16, 0)
        return int(text) if text.strip().isdigit() else None
    else:
        return None
    finally:
        os.close(descriptor)
