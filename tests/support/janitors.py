"""The janitors of servers (R27), which are no children of anybody who could ask for them."""

import os
from contextlib import suppress
from pathlib import Path

from dorrit.process.files import janitor
from tests.support import proc


def janitors(directory: Path) -> list[int]:
    """The pids of those that look after the directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            pid = int(entry.name)
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if (
                os.fsencode(janitor.PROGRAM) in words
                and str(directory) in proc.descriptors(pid).values()
            ):
                found.append(pid)
    return found
