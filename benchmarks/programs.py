"""The C programs of the benchmark: compiled on first use, and again when a source has changed."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "benchmarks"
SOURCES = ROOT / "benchmarks"

_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wconversion")
_PROGRAMS = {
    "client": ("client.c",),
    "bare-echo": ("bare/echo.c", "bare/handshake.c"),
}


def program(name: str) -> Path:
    """Path of the compiled program ``name``, which is up to date when this returns.

    Raises:
        subprocess.CalledProcessError: the compiler refused a source; its messages are on stderr.
    """
    target = BUILD / name
    sources = [SOURCES / source for source in _PROGRAMS[name]]
    newest = max(
        path.stat().st_mtime for path in (*sources, *(SOURCES / "bare").glob("*.h"), Path(__file__))
    )
    if not target.exists() or target.stat().st_mtime < newest:
        BUILD.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", *_FLAGS, *sources, "-o", target], check=True)
    return target
