"""Restart in place after a crash (R28, R29), or for new code (L1): same process, same socket.

No privilege is needed.

The order of a server that uses it:

1. `inherited`, first of all: None, or what the last image has left. Then `Command.current`,
   before anything of the process is changed.
2. In a next image, the caller logs `Handover.report`, has `wait` sit out `Handover.delay`, installs
   its handlers of SIGTERM, SIGINT and SIGHUP, and calls `release_signals`.
3. There also `prepare`, at once: its start may crash as well.
4. The start, which takes from the handover what it would else make.
5. `prepare`, when it is ready and its privileges are gone.
6. `Restarter.disarm`, as soon as it is to stop; or `be_replaced`, as soon as it is to make way for
   the next image, and then `replace_at_exit` or `replace_now`.
"""

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from dorrit.process.crash import _crash
from dorrit.process.exec.command import VARIABLE, Command
from dorrit.process.exec.handover import (
    FATAL,
    Handover,
    NoHandoverError,
    leave,
    take_over,
)
from dorrit.process.exec.memfd import nameless_file
from dorrit.process.fork import children

logger: logging.Logger = logging.getLogger("dorrit")

HELD: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2})
"""Signals that wait while one image makes way for the next, which could not stop in order yet."""

STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
"""Those of them that stop the server."""

WAKING: Final = STOPPING | {signal.SIGUSR2}
"""Those of them that end a wait."""

LOOK_INTERVAL: Final = 0.05
"""Seconds between two looks for a signal, where there is no sigtimedwait(2): on macOS."""

HANDLED_IN_PYTHON: Final = (
    "the server handles {} in Python, which never happens after a real fault: such a crash makes "
    "it hang (see the documentation of the module signal)"
)

REPLACE: Final = _crash.REPLACE
"""The address of what runs the next image, once `be_replaced` has been called."""

NO_LEDGER: Final = (0, 0)
"""Where no connections are written down."""

SIGNALS: Final = tuple(sorted(FATAL))

_armed: "Restarter | None" = None


class Restarter:
    """What makes a crash of this process a restart, until it is disarmed; made by `prepare`.

    Attributes:
        warnings: Why a restart won't work, or not as expected, one line each; for the log.
        respected: The signals that the server handles or ignores itself, and which don't restart
            it.
    """

    def __init__(
        self,
        handover: Handover,
        command: Command,
        files: tuple[str, ...],
        report: int,
        prefix: str,
        *,
        catches: bool = True,
        ledger: tuple[int, int] = NO_LEDGER,
    ) -> None:
        """See `prepare` and `be_replaced`."""
        self.warnings: tuple[str, ...] = tuple(obstacles(command, files))
        self.respected: tuple[signal.Signals, ...] = ()
        self._state = -1
        self._traceback = -1
        self._above = -1  # the address of faulthandler's handler, once ours is installed
        self._had_faulthandler = faulthandler.is_enabled()
        if not command.program:
            return
        try:
            self._state = nameless_file("restart")
            self._traceback = nameless_file("traceback")
            inherited = replace(handover, untouched=command.descriptors)
            leave(inherited, self._state, self._traceback)
            self._arm(handover, command, files, (report, prefix), ledger)
            if catches:
                self._install()
        except BaseException:
            self.disarm()
            raise

    def _arm(
        self,
        handover: Handover,
        command: Command,
        files: tuple[str, ...],
        reporting: tuple[int, str],
        ledger: tuple[int, int],
    ) -> None:
        """Lay down what the handler is to do."""
        report, prefix = reporting
        inherited = {*handover.descriptors, *handover.carried, self._state, self._traceback}
        _crash.arm(
            program=os.fsencode(command.program),
            arguments=map(os.fsencode, (command.program, *command.arguments)),
            environment=(*command.environment, f"{VARIABLE}={self._state}".encode()),
            directory=os.fsencode(command.directory),
            umask=command.umask,
            files=map(os.fsencode, (*command.files, *files)),
            inherited=inherited,
            untouched=command.descriptors - inherited,
            ignored=command.ignored,
            held=HELD,
            ledger=ledger,
            record=self._state,
            report=report,
            prefix=os.fsencode(prefix),
        )

    def _install(self) -> None:
        """Put our handler below faulthandler's, and leave alone what the server has installed.

        faulthandler's handler writes the traceback, puts the handler back that was there before it,
        ours, and raises the signal again. It installs itself for all five signals: those that the
        server handles get back what they had, else the server's handler would see the signal that
        faulthandler has raised and not the fault.
        """
        before = _dispositions()
        faulthandler.disable()
        below = _dispositions()
        faulthandler.enable(self._traceback)
        self._above = _crash.disposition(signal.SIGSEGV).handler
        faulthandler.disable()
        for number in SIGNALS:
            is_above = before[number].handler == self._above
            own = below[number] if is_above else before[number]
            if own.is_default or own.handler == _crash.HANDLER:
                _crash.catch(number)
            else:
                self.respected += (number,)
        faulthandler.enable(self._traceback, all_threads=True)
        # execve(2): "The signal mask is preserved". Linux ends a process at once whose fault comes
        # with a signal that is blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FATAL)
        for number in self.respected:
            if before[number].handler != self._above:
                _crash.set_disposition(number, before[number])
            if callable(signal.getsignal(number)):
                self.warnings += (HANDLED_IN_PYTHON.format(number.name),)
        # faulthandler's own has no room for a second handler on processors with many registers.
        _crash.use_stack()

    def disarm(self) -> None:
        """From now on a crash ends the process; does nothing when called again.

        To be called as soon as the server is to stop: a crash in ``ws_exit_func``, or while the
        interpreter is taken down, must not start it anew.
        """
        global _armed  # noqa: PLW0603 - one process has one
        _crash.disarm()
        if _armed is self:
            _armed = None
        if self._above != -1:
            self._uninstall()
            self._above = -1
        for descriptor in (self._state, self._traceback):
            if descriptor != -1:
                with suppress(OSError):
                    os.close(descriptor)
        self._state = self._traceback = -1

    def let_go(self) -> None:
        """Let a forked child crash on its own, and not write its traceback into our file."""
        self.disarm()

    def _uninstall(self) -> None:
        before = _dispositions()
        faulthandler.disable()
        for number, disposition in _dispositions().items():
            if disposition.handler == _crash.HANDLER:
                _crash.set_default(number)
        if self._had_faulthandler:
            with suppress(Exception):  # there may be no stderr
                faulthandler.enable()
        for number, disposition in before.items():
            if disposition.handler not in {self._above, _crash.HANDLER}:
                _crash.set_disposition(number, disposition)


def prepare(
    handover: Handover,
    command: Command,
    *,
    files: Iterable[str] = (),
    report: int = 2,
    prefix: str = "dorrit: ",
    ledger: tuple[int, int] = NO_LEDGER,
) -> Restarter:
    """Have crashes of this process restart it in place, from now on.

    SIGSEGV, SIGBUS, SIGABRT, SIGFPE and SIGILL are caught, but for those that the server handles or
    ignores itself. The next image runs the command as it was run, with the descriptors of the
    handover and those that the process was started with, and with no others. A child that the
    server forks is not restarted when it crashes.

    To be called in the main thread, whose stack may then overflow, too; for those of other threads
    see `dorrit.process.crash.stacks`. What was prepared before is replaced.

    Args:
        handover: What the next image gets.
        command: How to start it.
        files: Files of the server that its user must be able to read, or it isn't restarted;
            relative ones belong to the directory that it was started in.
        report: A descriptor; one line is written there when a restart fails, for the log. It must
            not block.
        prefix: What that line begins with.
        ledger: Where connections are written down, an address and bytes, which stay as long as it
            is armed: the next image gets their descriptors as well.

    Returns:
        What undoes it.

    Raises:
        OSError: A descriptor of the handover is not open, or there is no memory.
    """
    global _armed  # noqa: PLW0603 - one process has one
    if _armed is not None:
        _armed.disarm()
    _armed = Restarter(handover, command, tuple(files), report, prefix, ledger=ledger)
    children.hold(_armed)
    return _armed


def obstacles(command: Command, files: Iterable[str]) -> list[str]:
    """Return why a crash can't be followed by a restart, one line each; for the log.

    Args:
        command: How it would be started.
        files: Further files that must be readable.
    """
    return [
        f"the server can't be restarted after a crash: {why}" for why in command.obstacles(files)
    ]


def be_replaced(
    handover: Handover, command: Command, *, catches: bool, report: int, prefix: str
) -> None:
    """Have `replace_at_exit` and `replace_now` run the command as the next image of this process.

    From now on the signals `HELD` are the next image's. A crash runs it as well.

    Args:
        handover: What the next image gets.
        command: How to start it; it has no obstacles.
        catches: Crashes restart the server.
        report: A descriptor; one line is written there if the command can't be run.
        prefix: What that line begins with.

    Raises:
        OSError: A descriptor of the handover is not open, or there is no memory.
    """
    global _armed  # noqa: PLW0603 - one process has one
    if _armed is not None:
        _armed.disarm()
    _armed = Restarter(handover, command, (), report, prefix, catches=catches)
    children.hold(_armed)
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    if threading.current_thread() is threading.main_thread():
        # The interpreter's end gives those that it knows their default action.
        for number in HELD:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
    _crash.note_signals()


def replace_at_exit() -> None:
    """Run the next image when the interpreter has ended; see `be_replaced`.

    What the next image gets must not be closed by the end of the interpreter.

    Raises:
        OSError: Too many functions are called then.
    """
    _crash.replace_at_exit()


def replace_now() -> None:
    """Run the next image, from whichever thread; return if that is not possible.

    What has been printed is written out before.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            stream.flush()
    _crash.replace()


def inherited() -> Handover | None:
    """Return what a crash or a reload has left to this process, which is its next image.

    To be called before anything else. What may be in the environment of a process that did not
    crash is ignored, with a warning in the log. Children that the last image had, and that have
    ended by now, are waited for: nobody else knows of them.

    Returns:
        None if this process was started in the ordinary way. Its descriptors close on exec again.

    Raises:
        StartError: The server can't go on: a descriptor is gone, or has become something else.
    """
    value = os.environ.pop(VARIABLE, None)
    if value is None:
        return None
    try:
        handover = take_over(value)
    except NoHandoverError as error:
        logger.warning("%s is in the environment by mistake and ignored: %s", VARIABLE, error)
        release_signals()
        return None
    if handover.ledger is not None:
        # All at once: there may be many connections. Those that the command had go on as they were.
        _crash.close_on_exec(handover.untouched)
    if handover.supervised is None:  # else it waits for a worker, which may have ended by now
        _reap()
    return handover


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def wait(seconds: float) -> signal.Signals | None:
    """Wait, unless the server is told to stop, or to be reloaded.

    The signals `HELD` are blocked afterwards, as they are when the next image starts; one that has
    come since the crash ends the wait at once.

    Args:
        seconds: For how long; 0 only looks.

    Returns:
        The signal that has ended the wait, one of `WAKING`, which then is gone; or None. One that
        stops the server goes before the other.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    # Without a wait there is nothing to be ended: a reload that is wanted comes afterwards.
    waking = WAKING if seconds > 0 else STOPPING
    if hasattr(signal, "sigtimedwait"):
        received = signal.sigtimedwait(waking, max(0.0, seconds))
        if received is not None and received.si_signo not in STOPPING:
            received = signal.sigtimedwait(STOPPING, 0) or received
        return None if received is None else signal.Signals(received.si_signo)
    end = time.monotonic() + seconds
    while not (pending := signal.sigpending() & waking):
        left = end - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(left, LOOK_INTERVAL))
    return signal.Signals(signal.sigwait(pending & STOPPING or pending))


def waiting(seconds: float, restarts: int) -> str:
    """Return the line of the log that says why nothing is served for a while."""
    return (
        f"{restarts} crashes so far, too many of them in short succession: waiting {seconds:.1f} "
        "seconds before serving again; callers wait as well"
    )


def release_signals() -> None:
    """Let the signals `HELD` come, those that have waited at once.

    To be called when they have handlers, and before the server's own code runs: the children that
    it starts inherit what is blocked.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


def _dispositions() -> Mapping[signal.Signals, _crash.Disposition]:
    return {number: _crash.disposition(number) for number in SIGNALS}
