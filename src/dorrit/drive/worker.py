"""Worker: a server's process that has a supervisor, as far as it differs from one that is alone.

The supervisor accepts the connections and passes them on; it keeps a copy of each until it is told
that the connection is over. When this process ends, of whatever, another one goes on with them:
after a crash or SIGKILL as the ledger tells, after a reload as they were carried out.
"""

import json
import logging
import os
import select
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from dorrit.drive.carried import carry_in, cut_off
from dorrit.engine import Engine
from dorrit.engine.channel import LEAVING, READY, STATUS, Channel
from dorrit.errors import StartError
from dorrit.process.control.status import Status
from dorrit.process.control.status import encoded as status_line
from dorrit.process.exec.handover import LEDGER, Handover, encoded
from dorrit.process.exec.handover import decoded as decoded_handover
from dorrit.process.exit import leaving
from dorrit.process.exit.status import end
from dorrit.process.fork import children, daemon
from dorrit.process.start.workers import (
    PROTOCOL,
    RELEASE,
    Hello,
    SupervisedSettings,
    WorkerFiles,
)
from dorrit.settings import Settings

logger: logging.Logger = logging.getLogger("dorrit")

SUPERVISOR_TIMEOUT: Final = 30.0
"""Seconds for the supervisor to say, or to hear, what there is."""


def supervised_settings(settings: Settings) -> SupervisedSettings:
    """Return what of a server's settings its supervisor goes by."""
    return SupervisedSettings(
        no_restart=settings.no_restart,
        preload=settings.preload,
        end_timeout=3 * settings.stop_grace + settings.stop_timeout,
    )


class Worker:
    """What this process has of its supervisor.

    Attributes:
        files: Descriptors that it has got.
        connections: Descriptors of those that were passed on before the first turn, and whether
            the last worker had taken them.
    """

    def __init__(self, files: WorkerFiles, reloads: Callable[[], int]) -> None:
        """Take what the supervisor has given; a process that is forked has none of it.

        Args:
            files: Descriptors that it has got.
            reloads: Tells how many have asked for a reload that nobody has taken.
        """
        self.files = files
        self._reloads = reloads
        self.connections: list[tuple[int, bool]] = []
        self._channel = Channel(files.channel)
        children.hold(self)

    def wait_for_turn(self) -> None:
        """Say that this process can be given connections, and wait until it is.

        That may be long from now: this is what a spare worker does, and all of its signals wait as
        well. It ends with its supervisor.
        """
        poll = select.poll()
        poll.register(self._channel.descriptor, select.POLLIN)
        with suppress(BrokenPipeError):
            os.write(self._channel.descriptor, Hello(PROTOCOL, RELEASE).line())
        if any(events & select.POLLHUP for _, events in poll.poll()):
            end(0)

    def receive(self) -> Handover:
        """Return what the last worker has left, with all connections.

        Raises:
            StartError: The supervisor has ended, or says what it can't mean.
        """
        try:
            text, ledger, self.connections = self._channel.receive_handover(SUPERVISOR_TIMEOUT)
            handover = decoded_handover(text)
        except (OSError, ValueError) as error:
            raise StartError(f"can't go on from the worker before: {error}") from None
        kept = {} if ledger < 0 else {LEDGER: ledger}
        carried = tuple(descriptor for descriptor, _ in self.connections)
        return replace(handover, kept=kept, carried=carried, elsewhere=True)

    def join(
        self, engine: Engine, describe: Callable[[], Status], stop: Callable[[], None]
    ) -> None:
        """Have an engine take the connections that come from now on.

        Args:
            engine: It has no client yet.
            describe: Says how the server is.
            stop: Ends it: there is no supervisor any more.
        """

        def answer() -> None:
            self._channel.put(STATUS, status_line(describe()))

        def orphaned() -> None:
            logger.error("the supervisor has ended, and so does the server")
            stop()

        engine.join_supervisor(self._channel, answer, orphaned)

    def take(self, engine: Engine, handover: Handover) -> tuple[int, int]:
        """Take the connections of the last worker, and those that nobody has taken yet.

        Returns:
            How many go on, and how many are lost.
        """
        taken = 0
        known = [descriptor for descriptor, is_known in self.connections if is_known]
        over = _over(known)
        if handover.ledger is not None:
            try:
                taken, _ = carry_in(engine, handover)
            except (OSError, ValueError) as error:
                logger.error("no connection can be carried over: %s", error)  # noqa: TRY400 - it says all
        missing = engine.without_connection(known)
        lost = len(set(missing) - over)
        cut_off(missing)
        engine.give_up_passed(missing)
        engine.take_passed(
            engine.without_connection(
                [descriptor for descriptor, is_known in self.connections if not is_known]
            )
        )
        return taken, lost

    def ready(self, handover: Handover, settings: Settings) -> None:
        """Say that the server serves, and what there is to be known of it if it ends.

        Raises:
            StartError: Nobody hears it.
        """
        content = json.loads(encoded(handover)) | {
            "settings": supervised_settings(settings)._asdict()
        }
        try:
            self._say(READY, json.dumps(content).encode("ascii"))
        except OSError as error:
            raise StartError(f"the supervisor can't be told: {error.strerror}") from None

    def fail(self, message: str, status: int) -> None:
        """Say why the server can't start: somebody waits for it at the supervisor's."""
        with suppress(OSError):
            self._say(LEAVING, json.dumps({"failed": message, "status": status}).encode("ascii"))

    # As `dorrit.drive.replacement.Next` has it

    def prepare(self, handover: Handover, _report: int, _prefix: str) -> None:
        """Leave the connections, which have been carried out, to the next worker.

        Raises:
            OSError: The supervisor can't be told.
        """
        content = json.loads(encoded(handover))
        content |= {"again": self._reloads() > 0, "carries": handover.ledger is not None}
        self._say(LEAVING, json.dumps(content).encode("ascii"))

    def at_exit(self, seconds: float, report: tuple[int, str]) -> None:
        """Have the interpreter end in so many seconds."""
        children.forget_handlers()
        leaving.end_by(seconds, report)

    def now(self) -> None:
        """End here and now."""
        end(0)

    def _say(self, kind: int, text: bytes) -> None:
        self._channel.put(kind, text)
        deadline = time.monotonic() + SUPERVISOR_TIMEOUT
        poll = select.poll()
        poll.register(self._channel.descriptor, select.POLLOUT)
        while not self._channel.send():
            if not poll.poll(1000) and time.monotonic() > deadline:
                raise TimeoutError(0, "it does not read")

    def let_go(self) -> None:
        """Leave all that to the worker, in a process that was forked off it."""
        self._channel.let_go()
        for descriptor in self.files[1:]:
            with suppress(OSError):
                os.close(descriptor)


class FirstReadiness(daemon.Readiness):
    """What the first worker of a daemon says instead of the daemon, which its supervisor is."""

    def __init__(self, worker: Worker) -> None:
        """Say it to the supervisor."""
        super().__init__(-1)
        self._worker = worker

    def ready(self) -> None:
        """Connect the standard streams to /dev/null; `Worker.ready` says the rest."""
        daemon.leave_streams()

    def failed(self, message: str, status: int = 1) -> None:
        """Have the command say why, and exit."""
        self._worker.fail(message, status)


def _over(descriptors: Iterable[int]) -> set[int]:
    """Return those that have been shut down both ways: the last worker has ended them."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, 0)
    ended = select.POLLHUP | select.POLLNVAL
    return {descriptor for descriptor, events in poll.poll(0) if events & ended}
