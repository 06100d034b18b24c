"""Runs of tests, each file in a process of its own, whose measurements are kept."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.coverage.mirror import ROOT

KEPT = ROOT / "build" / "coverage"

FAILED = "failed"


class TestsFailed(Exception):  # noqa: N818 - says what happened
    """Tests failed while they were measured; what they reach then says nothing."""


def run(command: Sequence[object], *, together: bool = True, **environment: str) -> str:
    """Run a command in the project's folder; return what it printed, errors too if `together`.

    Raises:
        TestsFailed: It did not end with 0; the text is what it printed.
    """
    words = [str(word) for word in command]
    ended = subprocess.run(
        words,
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else None,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode != 0:
        raise TestsFailed(f"exit {ended.returncode}: {' '.join(words)}\n{ended.stdout}")
    return ended.stdout


def pytest(python: Sequence[object], tests: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run files of tests, by their paths in tests."""
    options = ["-m", "pytest", "-p", "no:cacheprovider"]
    run([*python, *options, *(ROOT / "tests" / test for test in tests)], **environment)


@contextmanager
def folder_for_all(kept: Path) -> Iterator[Path]:
    """A folder in which processes of any user may write; what they wrote is kept afterwards, that
    of tests that failed, too, with a mark (`is_kept`).

    Servers that root starts give their privileges up, and may not be able to look into ours.
    """
    with tempfile.TemporaryDirectory(prefix="dorrit-coverage-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        try:
            yield folder
        except TestsFailed:
            (folder / FAILED).touch()
            raise
        finally:
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept)


def is_kept(kept: Path) -> bool:
    """Whether there is the measurement of tests that passed."""
    return kept.is_dir() and not (kept / FAILED).exists()
