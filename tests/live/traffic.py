"""Runs `traffic.c`, and reads what it has found."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = Path(__file__).with_name("traffic.c")
WARNINGS: Final = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wsign-conversion")
TIMEOUT: Final = 120
"""Seconds; it gives up by itself after a minute without an answer."""


def compiled(source: Path = SOURCE, name: str = "traffic", *options: str) -> Path:
    """Compile a program, or with `-shared` a library, and return it."""
    program = ROOT / "build" / "live" / name
    program.parent.mkdir(parents=True, exist_ok=True)
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        made = program.with_name(f"{name}-{id(program)}")
        subprocess.run(["cc", "-O2", *WARNINGS, *options, source, "-o", made], check=True)
        made.replace(program)
    return program


class Traffic:
    """Clients that send all the time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Take the program that runs, and wait until all of them are connected."""
        self._process = process
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", self.said()

    def report(self) -> dict[str, Any]:
        """Return what has been found so far; the longest wait is counted anew from here on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self.said()
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> dict[str, Any]:
        """Have nothing more sent, wait for what is on its way, and return what has been found."""
        out, errors = self._process.communicate(timeout=TIMEOUT)
        assert self._process.returncode == 0, errors + out
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found

    def said(self) -> str:
        """Return what it has said on stderr, for a failure."""
        self._process.kill()
        return self._process.communicate()[1]


@contextlib.contextmanager
def traffic(
    address: str,
    target: str,
    clients: int,
    program: str | Path | None = None,
    *,
    how: str | None = None,
) -> Iterator[Traffic]:
    """Have so many clients send all the time, within the block.

    Args:
        address: Path of a socket, or HOST:PORT.
        target: What they ask for.
        clients: How many there are.
        program: What is run; None: what `compiled` returns.
        how: "plain": all of them send little; "paced": with a pause of 5 ms after each round.
    """
    process = subprocess.Popen(
        [program or compiled(), address, target, str(clients), *([how] if how else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Traffic(process)
        finally:
            process.kill()
