"""Has a child look at what a server would be now, while the server runs: before it is reloaded."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any, Final, NamedTuple

from dorrit.process.exec.command import Command
from dorrit.process.running.check_request import PASSED, VARIABLE

OUTPUT_MAX: Final = 16 * 1024
"""Bytes of what it prints that are kept."""

READ: Final = 65536
READS_MAX: Final = 16
"""Reads at once: what prints without an end must not hold up the server."""


class Found(NamedTuple):
    """What a look has found.

    Attributes:
        passed: The server could be started.
        is_late: It was ended, since it took too long.
        facts: What the server would be, if it has passed.
        output: What was printed.
    """

    passed: bool
    is_late: bool
    facts: dict[str, Any]
    output: str


class CheckChild:
    """A child that runs the server's own command, which only looks for mistakes.

    To be asked again and again, by `poll`, and closed.
    """

    def __init__(self, command: Command, seconds: float) -> None:
        """Start it.

        Args:
            command: How the server was started.
            seconds: How long it may take.

        Raises:
            OSError: It can't be started.
        """
        self._due = time.monotonic() + seconds
        self._output = b""
        self._word = b""
        self._word_reader, word_writer = os.pipe()
        self._output_reader, output_writer = os.pipe()
        try:
            self._process = subprocess.Popen(
                [command.program, *command.arguments],
                cwd=command.directory,
                env=_environment(command) | {os.fsencode(VARIABLE): b"%d" % word_writer},
                umask=command.umask,
                stdin=subprocess.DEVNULL,
                stdout=output_writer,
                stderr=subprocess.STDOUT,
                pass_fds=[word_writer, *filter(_is_inheritable, command.descriptors)],
                start_new_session=True,  # so that it ends with all that it has started
            )
        except BaseException:
            os.close(self._word_reader)
            os.close(self._output_reader)
            raise
        finally:
            os.close(word_writer)
            os.close(output_writer)
        for reader in (self._word_reader, self._output_reader):
            os.set_blocking(reader, False)

    def poll(self) -> Found | None:
        """Return what it has found; None: it still looks."""
        is_over = self._process.poll() is not None
        is_late = not is_over and time.monotonic() >= self._due
        self._output = (self._output + _read(self._output_reader))[:OUTPUT_MAX]
        self._word += _read(self._word_reader)
        if not is_over and not is_late:
            return None
        passed = not is_late and self._word.startswith(PASSED)
        return Found(
            passed=passed,
            is_late=is_late,
            facts=_facts(self._word) if passed else {},
            output=self._output.decode(errors="backslashreplace").strip(),
        )

    def close(self) -> None:
        """End it, if it has not ended."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._word_reader)
        os.close(self._output_reader)


def _environment(command: Command) -> dict[bytes, bytes]:
    pairs = (line.partition(b"=") for line in command.environment)
    return {name: value for name, _, value in pairs}


def _is_inheritable(descriptor: int) -> bool:
    """Tell whether a descriptor that the command had is still there; another one is closed."""
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False


def _read(reader: int) -> bytes:
    """Return what is in a pipe. To its end: a process that was left behind may hold it open."""
    data = b""
    with suppress(BlockingIOError):
        for _ in range(READS_MAX):
            data += os.read(reader, READ)
    return data


def _facts(word: bytes) -> dict[str, Any]:
    """Return what stands behind the word of success; a release before this one says nothing."""
    try:
        facts = json.loads(word[len(PASSED) :])
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
