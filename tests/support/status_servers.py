"""Starts the stand-in for a daemon, tests/process/running/status_server.py, and ends it."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.process.running import status_server

Started = subprocess.Popen[str]


@contextlib.contextmanager
def status_servers(
    directory: str | Path, name: str, path: str, *, cwd: str | Path
) -> Iterator[Callable[..., Started]]:
    """What starts one and waits until it is ready: its words, and another name or path."""
    started: list[Started] = []

    def run(*words: str, name: str = name, path: str = path) -> Started:
        process = subprocess.Popen(
            [sys.executable, status_server.__file__, directory, name, path, *words],
            stdout=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    try:
        yield run
    finally:
        for process in started:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
