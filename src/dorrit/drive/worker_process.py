"""A worker, as its supervisor knows it: from its start to its end."""

import os
import signal
from contextlib import suppress
from typing import Final, Self

from dorrit.process.control.notify import VARIABLES
from dorrit.process.control.status import Status
from dorrit.process.crash import restart
from dorrit.process.exec.command import Command
from dorrit.process.exec.handover import Handover
from dorrit.process.start.launch import REPEATED
from dorrit.process.start.workers import (
    HELLO_MAX,
    Hello,
    WorkerFiles,
    start_worker,
)

NOT_FOR_WORKERS: Final = (*VARIABLES, REPEATED)
"""Variables that mean somebody else than a worker."""


class WorkerProcess:
    """A worker: one that serves, or is about to, or the spare one that waits for the next turn.

    Attributes:
        pid: Its process.
        files: What it was given, but for the channel.
        channel: The supervisor's end of the channel, until the roster has it; then -1.
        is_spare: It was started before there was something to do for it.
        hello: What it has said first: it can be given connections; None: nothing yet.
        given: What it was told of the worker before; None: nothing yet.
        serves: It has come to serve.
        answers: It serves, and can be asked something.
        is_over: It has ended.
        leaving: What it has left for the next one; None: it has not said that it leaves.
        carries: It has left the connections as well, in `files.carried`.
        failed: Why it could not start, and the exit status, if it has said so.
        status: What it has said of itself last.
    """

    def __init__(self, pid: int, files: WorkerFiles, channel: int, *, is_spare: bool) -> None:
        """Note one that has been started."""
        self.pid: int = pid
        self.files: WorkerFiles = files
        self.channel: int = channel
        self.is_spare: bool = is_spare
        self.hello: Hello | None = None
        self.given: Handover | None = None
        self.serves = False
        self.answers = False
        self.is_over = False
        self.leaving: Handover | None = None
        self.carries = True
        self.failed: tuple[str, int] | None = None
        self.status: Status | None = None
        self._said = b""

    @classmethod
    def start(cls, command: Command, *, is_spare: bool, ahead: bool) -> Self:
        """Start one.

        Args:
            command: How the server was started.
            is_spare: Nobody needs it yet.
            ahead: It is to load the server before it says hello.

        Raises:
            OSError: There is no process, descriptor or memory for it.
        """
        files, ours = WorkerFiles.new()
        try:
            pid = start_worker(
                command, files, ahead=ahead, without=NOT_FOR_WORKERS, blocked=restart.HELD
            )
        except OSError:
            os.close(ours)
            for descriptor in files:
                os.close(descriptor)
            raise
        os.close(files.channel)
        return cls(pid, files._replace(channel=-1), ours, is_spare=is_spare)

    def hear_hello(self) -> bool:
        """Read what it says first, as far as that has come; return whether it has said hello.

        Raises:
            EOFError: It will say nothing.
            ValueError: It is not a worker.
            OSError: Nothing can be read.
        """
        text = os.read(self.channel, HELLO_MAX)
        if not text:
            raise EOFError
        self._said += text
        line, end, rest = self._said.partition(b"\n")
        if not end and len(line) < HELLO_MAX:
            return False
        if rest:
            raise ValueError("it says more than hello")
        self.hello = Hello.decoded(line)
        return True

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended: then its pid may be another's."""
        if not self.is_over:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def take_channel(self) -> int:
        """Return the channel, which is the caller's from here on."""
        channel, self.channel = self.channel, -1
        return channel

    def end(self) -> None:
        """End it, whatever it does; nobody hears of its end."""
        self.tell(signal.SIGKILL)
        self.close()

    def close(self, *, but: int = -1) -> None:
        """Close its files, but for one."""
        for descriptor in (self.take_channel(), *self.files[1:]):
            if descriptor not in {-1, but}:
                os.close(descriptor)
        self.files = self.files._replace(ledger=-1, carried=-1, traceback=-1)


def ended_by(status: int) -> signal.Signals | None:
    """Return the signal that has ended a process; SIGKILL also for one that has no name.

    Args:
        status: Its exit status, negative for a signal; for others there is None.
    """
    if status >= 0:
        return None
    with suppress(ValueError):
        return signal.Signals(-status)
    return signal.SIGKILL
