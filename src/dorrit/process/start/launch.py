"""How this process was started: by a command, a service manager, or a crash of its last image."""

import os
import time
from signal import Signals
from typing import Final, NamedTuple, Self

from dorrit.process.control.notify import Notifier
from dorrit.process.crash import restart
from dorrit.process.exec.command import Command
from dorrit.process.exec.descriptors import Inherited, open_standard_streams
from dorrit.process.exec.handover import Handover
from dorrit.process.start import activation
from dorrit.process.start.workers import AHEAD, WorkerFiles

SLICE: Final = 1.0
"""Seconds of a wait in which the service manager may hear nothing, less if it wants so, and in
which a worker does not notice that its supervisor has ended."""


REPEATED: Final = "DORRIT_REPEATED"
"""The variable by which `dorrit dev` says that it starts a server once more."""


class Launch(NamedTuple):
    """What is found when the process starts.

    Attributes:
        command: How to start it again.
        handover: What the last image has left; None if there was none.
        notifier: The service manager, if one wants to know how the server is.
        given: Descriptor of the socket that a service manager has handed over, or None.
        is_repeated: It has been started like this before, by `dorrit dev` or before a crash: what
            it says of the machine is known.
        inherited: Descriptors that a daemon closes.
        worker: What a supervisor that has started this process as a worker gives to it; None: none
            has.
        parent: The process that has started this one.
        ahead: A worker is to load the server before it has connections.
    """

    command: Command
    handover: Handover | None
    notifier: Notifier
    given: int | None
    is_repeated: bool
    inherited: Inherited
    worker: WorkerFiles | None = None
    parent: int = 0
    ahead: bool = False

    @classmethod
    def current(cls) -> Self:
        """Look at this process, and take out of its environment what is meant for it alone.

        To be called first of all, before the server's own code is loaded.

        Raises:
            StartError: What was handed over can't be used.
        """
        open_standard_streams()
        handover = restart.inherited()
        worker = WorkerFiles.inherited()
        ahead = os.environ.pop(AHEAD, None) is not None and worker is not None
        is_repeated = os.environ.pop(REPEATED, None) is not None or handover is not None
        command = Command.current()
        notifier = Notifier.from_environment()
        given = None
        if handover is None and worker is None:
            given = activation.activated_socket()
        else:
            activation.forget()
        # What is handed over is closed on exec by now, which tells it from what was left open.
        parent = os.getppid()
        inherited = Inherited()
        return cls(
            command, handover, notifier, given, is_repeated, inherited, worker, parent, ahead
        )

    def wait_after_crash(self, seconds: float) -> Signals | None:
        """Wait after a crash (`dorrit.process.crash.restart.wait`); the service manager knows."""
        end = time.monotonic() + seconds
        while True:
            left = max(0.0, end - time.monotonic())
            if self.worker is not None and os.getppid() != self.parent:
                return Signals.SIGTERM  # without its supervisor it has nobody to serve
            received = restart.wait(min(left, self.notifier.watchdog_interval() or SLICE, SLICE))
            if received is not None or left == 0:
                return received
            self.notifier.alive()
