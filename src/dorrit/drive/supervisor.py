"""Supervisor: the process that accepts a server's connections, and starts who serves them.

It has none of the server's own code, and no Python object for a connection; it reads nothing that a
client sends. What it holds outlives its workers: the listening socket, the files beside it, and a
copy of each connection. When a worker ends, of whatever, it gives all that to another one.

    started ──READY──▶ serves ──LEAVING, its end──▶ the next one gets what was carried out
       │                 └──a signal ends it──────▶ the next one gets what the ledger says
       ├──LEAVING, its end──▶ the next one gets what this one had: the new code is tried again
       └──its end──▶ the server ends
"""

import json
import logging
import os
import signal
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any, Final, NoReturn

from dorrit.drive.supervisor_image import SPARE as SPARE_WORKER
from dorrit.drive.supervisor_image import (
    WORKER,
    Place,
    begin_check,
    check,
    files_in,
    go_on_as_next_image,
    kept_of,
    spare_in,
)
from dorrit.drive.worker_health import WorkerHealth
from dorrit.drive.worker_process import WorkerProcess, ended_by
from dorrit.engine import Engine, Timer
from dorrit.engine.channel import LEAVING, READY, STATUS
from dorrit.engine.limits import Limits
from dorrit.engine.roster import ASK, Roster
from dorrit.errors import StartError, reason_of
from dorrit.logger import log_raised
from dorrit.process.control.notify import Notifier
from dorrit.process.control.signals import SignalHandlers
from dorrit.process.control.status import Status, decoded, restarted
from dorrit.process.crash import restart
from dorrit.process.exec.command import Command
from dorrit.process.exec.handover import (
    Handover,
    encoded,
    read_traceback,
)
from dorrit.process.exec.handover import (
    decoded as decoded_handover,
)
from dorrit.process.fork import children, daemon
from dorrit.process.log.log import Log
from dorrit.process.start.resources import READINESS, Resources
from dorrit.process.start.workers import (
    NOT_RUN,
    PROTOCOL,
    RELEASE,
    Hello,
    SupervisedSettings,
)
from dorrit.version import __version__

logger: logging.Logger = logging.getLogger("dorrit")

SLACK: Final = 15.0
"""Seconds that a worker has to end besides those of the settings; it ends itself before."""

SPARE: Final = 8
"""Descriptors for the next worker, which clients must not have."""

STALLED: Final = 0.05
"""Seconds until something is sent again for which the system had no room."""

MISTAKE: Final = 2
"""The exit status of a command that was given something wrong."""

REASON_MAX: Final = 1000
"""Characters of a worker's reason not to start."""

SPARE_AFTER: Final = 1.0
"""Seconds that a worker serves before there is a spare one, whose start takes time from it."""

SPARE_AGAIN: Final = 60.0
"""Seconds until there is another spare worker, when somebody has ended the last one."""

RELOADS_AT_LAST: Final = 60.0
"""Seconds that a reload waits for a worker with the new code; then it goes on without."""


class Supervisor:
    """Runs a server's workers, one at a time, until the server ends."""

    def __init__(
        self, handover: Handover, supervised: dict[str, Any], own: Command, made: ExitStack
    ) -> None:
        """Take over what the process was before it became this.

        Args:
            handover: What that has left.
            supervised: What it has said besides.
            own: How this image was started.
            made: Undoes what is made here, the last first.
        """
        self._own_command = own
        place = supervised.pop("place", None)
        self._place = None if place is None else Place.from_json(place)
        self._supervised = supervised
        self._command: Command = Command.from_json(supervised["command"])
        self._settings = SupervisedSettings.known(supervised["settings"])
        self._user: str = supervised["user"]
        self._group: str = supervised["group"]
        self._log = Log(supervised["log_level"], supervised["log_format"])
        made.callback(self._log.close)
        if supervised["log"] is not None:
            self._log.use_file(supervised["log"])
        elif handover.daemon:
            self._log.use_syslog(handover.name)
        self._notifier = Notifier(supervised["notify"], supervised["watchdog"])
        readiness = handover.kept.get(READINESS)
        self._readiness = None if readiness is None else daemon.Readiness(readiness)
        self._handlers = SignalHandlers(self._hang_up)
        made.callback(self._handlers.close)
        self._resources = made.enter_context(Resources.adopt(handover, daemon=handover.daemon))
        files = files_in(handover, WORKER)
        self._handover: Handover = replace(handover, kept={}, supervised=None)
        self._worker = WorkerProcess(supervised["pid"], files, -1, is_spare=False)
        # The first one has been this process.
        self._worker.hello = Hello(PROTOCOL, RELEASE) if self._place is None else self._place.hello
        self._worker.given = self._handover
        self._spare = None if self._place is None else spare_in(handover, self._place)
        self._spare_later: Timer | None = None
        self._reload_later: Timer | None = None  # a reload waits for a worker with the new code
        self._check = 0  # the process that looks whether there can be a next image
        self._settles: Timer | None = None  # the next image waits until nothing is half said
        self._ledger = -1  # of the last worker, until the next one serves
        self._has_served = False
        self._status: int | None = None  # the exit status, once it is known
        self._deadline: Timer | None = None  # when a worker that is to end is ended
        self._fault: Exception | None = None  # dorrit's own
        self._again = False  # the next worker is to be reloaded
        self._sends_later: Timer | None = None
        self._kept_back = _spare_descriptors()
        self._roster = Roster(self._hear, self._silent)
        self._engine = Engine(
            on_open=_nobody, on_message=_nobody, on_close=_nobody, limits=Limits()
        )
        self._health = WorkerHealth(
            self._engine, self._notifier, self._resources.status_socket, self._ask, self._end_silent
        )
        made.callback(self._engine.close)
        made.callback(self._roster.end_all)
        made.callback(self._end_spare, waits=True)
        self._engine.supervise(self._roster)
        self._roster.attach(files.channel, self._engine.fileno())
        for thing in (self._resources, self._notifier, self._log):
            children.hold(thing)

    def run(self) -> int:
        """Run workers until the server ends; return its exit status."""
        self._handlers.install(daemon=self._handover.daemon)
        children.set_handler(signal.SIGCHLD, self._note_end)
        with self._handlers.connected(self._stop, self._engine.wakeup_descriptor):
            self._handlers.reload_by(self._reload)
            restart.release_signals()
            if self._place is not None:
                self._go_on(self._place)
            self._look()
            while self._status is None and self._fault is None:
                self._engine.run()
        if self._fault is not None:
            raise self._fault
        assert self._status is not None
        return self._status

    # Signals: what is done at once is next to nothing

    def _stop(self) -> None:
        self._worker.tell(signal.SIGTERM)
        self._engine.call_soon_threadsafe(self._await_stop)

    def _await_stop(self) -> None:
        self._notifier.stopping()
        self._end_spare()
        self._go_on_reloading()
        self._await_end()

    def _reload(self) -> None:
        self._engine.call_soon_threadsafe(self._take_reload)

    def _take_reload(self) -> None:
        if not self._handlers.take_reloads() or self._status is not None:
            return
        if self._worker.leaving is not None:
            self._again = True  # it is the next one's
        elif not self._worker.serves or self._handlers.stops:
            self._worker.tell(signal.SIGUSR2)  # it may wait for it
        else:
            # The worker is told when another one has come so far that it can go on at once. What a
            # spare one has loaded may be older than what there is now.
            self._end_spare()
            self._begin_spare()
            if self._reload_later is None:
                self._reload_later = self._engine.every(RELOADS_AT_LAST, self._go_on_reloading)
            if self._spare is None:
                self._go_on_reloading()

    def _go_on_reloading(self) -> None:
        """Have the worker reload, if that has waited for another one."""
        if self._reload_later is None:
            return
        self._reload_later.cancel()
        self._reload_later = None
        hello = None if self._spare is None else self._spare.hello
        if hello is not None and hello.protocol != PROTOCOL:
            # Whoever went on would get no connection: the worker that serves must not leave.
            logger.error("not reloaded: dorrit on the disk and this supervisor can't speak")
            self._end_spare()
        elif self._worker.leaving is None:
            self._worker.tell(signal.SIGUSR2)
        else:
            self._again = True

    def _note_end(self, _number: int, _frame: FrameType | None) -> None:
        self._engine.call_soon_threadsafe(self._look)

    def _hang_up(self) -> None:
        # First of all: what follows it is not to come before it.
        self._worker.tell(signal.SIGHUP)
        self._log.reopen()

    def _await_end(self) -> None:
        """The worker is to end in so much time."""
        if self._deadline is None:
            self._deadline = self._engine.every(
                self._settings.end_timeout + SLACK, self._end_worker
            )

    def _end_worker(self) -> None:
        logger.error("the worker does not end, and is killed")
        self._worker.tell(signal.SIGKILL)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # What the worker says

    def _hear(self, kind: int, text: bytes) -> None:
        try:
            if kind == READY:
                self._begin_to_serve(decoded_handover(text), SupervisedSettings.decoded(text))
            elif kind == STATUS:
                self._worker.status = decoded(text)
                self._health.answered()
            elif kind == LEAVING:
                self._note_leaving(text)
        except ValueError as error:
            logger.error("the worker %d says what it can't mean: %s", self._worker.pid, error)  # noqa: TRY400 - it says all
            self._worker.tell(signal.SIGKILL)

    def _silent(self, is_over: bool) -> None:  # noqa: FBT001 - as Roster calls it
        self._worker.answers = False
        self._health.lost()
        if not is_over:
            logger.error("the worker %d says what it can't mean, and is killed", self._worker.pid)
            self._worker.tell(signal.SIGKILL)
        else:
            self._await_end()

    def _note_leaving(self, text: bytes) -> None:
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("it is not JSON") from None
        if isinstance(said, dict) and "failed" in said:
            status = MISTAKE if said.get("status") == MISTAKE else 1
            self._worker.failed = str(said["failed"])[:REASON_MAX], status
            return
        self._worker.leaving = decoded_handover(text)
        self._worker.carries = said.get("carries") is not False
        self._again = self._again or said.get("again") is True
        if self._worker.leaving.reload is not None:
            self._notifier.reloading()

    def _begin_to_serve(self, told: Handover, settings: SupervisedSettings) -> None:
        """The worker takes connections."""
        worker = self._worker
        self._settings = settings
        worker.serves = worker.answers = True
        self._health.begin()
        self._handover = replace(
            self._handover, reloads=told.reloads, last=told.last, reload=None, down_since=None,
            signal=None, traceback="",
        )  # fmt: skip
        if self._ledger >= 0:
            os.close(self._ledger)
            self._ledger = -1
        if not self._has_served:
            self._listen()
        self._roster.open()
        self._engine.go_on_accepting()
        if self._spare is None:
            self._begin_spare_in(SPARE_AFTER)
        listening = f"listening on {self._resources.path}"
        logger.info("%s", listening)
        if self._readiness is not None:
            self._log.leave_terminal()
            self._readiness.ready()
            self._readiness = None
            self._log.take_prints()
        last = told.last
        if last.kind:
            what = restarted(last.kind, last.carried, last.seconds, last.lost)
            listening = f"{listening}; restarted {what}"
        self._notifier.ready(listening, main_pid=os.getpid() if self._handover.daemon else None)

    def _listen(self) -> None:
        """Take connections, and answer `dorrit status`, from now on."""
        self._has_served = True
        self._resources.listener.listen()
        self._engine.listen(self._resources.listener.descriptor)
        self._health.listen(self._describe)

    # Its next image

    def _replace_after_check(self) -> None:
        """Become a newer dorrit, if that can be loaded; the reload goes on afterwards."""
        assert self._worker.hello is not None
        if self._check == 0:
            try:
                self._check = begin_check(self._own_command, self._worker.hello)
            except OSError as error:
                self._stay(error.strerror)

    def _take_check(self, status: int) -> None:
        self._check = 0
        if status == 0:
            self._settles = self._engine.every(STALLED, self._replace_when_settled)
        else:
            self._stay("its new release can't be loaded, or does not speak with the worker")

    def _stay(self, why: str | None) -> None:
        logger.error("the supervisor stays as it is: %s", why)
        self._go_on_reloading()

    def _replace_when_settled(self) -> None:
        is_wanted = self._reload_later is not None and not self._handlers.stops
        if is_wanted and self._worker.answers and not self._roster.is_settled:
            return
        assert self._settles is not None
        self._settles.cancel()
        self._settles = None
        if is_wanted and self._worker.answers and self._worker.leaving is None:
            self._replace()
        self._go_on_reloading()

    def _replace(self) -> None:
        worker, spare = self._worker, self._spare
        assert worker.hello is not None
        kept = self._resources.handover().kept
        kept = {**kept, **kept_of(worker, self._roster.descriptor, WORKER)}
        waiting = None
        if spare is not None and spare.hello is not None:
            kept |= kept_of(spare, spare.channel, SPARE_WORKER)
            waiting = spare.pid, spare.hello
        go_on_as_next_image(
            replace(self._handover, kept=kept),
            Place(worker.hello, waiting, *self._roster.state()),
            {**self._supervised, "pid": worker.pid, "settings": self._settings._asdict()},
            command=self._own_command,
            log=self._log,
            handlers=self._handlers,
        )

    def _go_on(self, place: Place) -> None:
        """Go on where the last image was, which has been asked for a reload."""
        self._roster.restore(place.generation, place.entries)
        self._worker.serves = self._worker.answers = True
        self._listen()
        if self._spare is None:
            self._begin_spare_in(SPARE_AFTER)
        logger.info("the supervisor goes on with dorrit %s", __version__)
        self._worker.tell(signal.SIGUSR2)

    # Its status

    def _ask(self) -> bool:
        if self._worker.answers:
            self._roster.put(ASK)
            self._send()
        return self._worker.answers

    def _end_silent(self, seconds: float, again: bool) -> None:  # noqa: FBT001 - as WorkerHealth calls it
        """The worker hangs: it ends as in a crash, which costs whoever it was busy with."""
        if self._handlers.stops or self._worker.leaving is not None:
            return  # it has its time for that
        if not again:
            said = "the worker %d has not answered for %g seconds, and is ended"
            logger.error(said, self._worker.pid, seconds)
        # The first one has it say where it hangs.
        self._worker.tell(signal.SIGKILL if again else signal.SIGABRT)

    def _send(self) -> None:
        """Send to the worker; later if the system has too many descriptors on their way."""
        self._roster.send(self._engine.fileno())
        if self._roster.is_stalled and self._sends_later is None:
            self._sends_later = self._engine.every(STALLED, self._send)
        elif not self._roster.is_stalled and self._sends_later is not None:
            self._sends_later.cancel()
            self._sends_later = None

    def _describe(self) -> Status:
        said, handover = self._worker.status, self._handover
        status = Status(
            name=self._resources.name,
            pid=os.getpid(),
            user=self._user,
            group=self._group,
            socket=self._resources.path,
            started=handover.first_start,
            connections=self._roster.connections,
            restarts=handover.restarts,
            version=__version__,
        ).with_restarts(handover.reloads, handover.last)
        if said is None:
            return status
        return status._replace(
            reload_attempts=said.reload_attempts,
            reload_state=said.reload_state,
            reload_reason=said.reload_reason,
            unrecorded=said.unrecorded,
        )

    # Its end

    def _look(self) -> None:
        """Look whether the worker has ended, or a child that the process had before it was this."""
        try:
            while self._status is None:
                pid, ended = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._worker.pid:
                    self._worker.is_over = True
                    self._roster.drain(self._engine.fileno())  # what it has said last
                    self._take_end(os.waitstatus_to_exitcode(ended))
                elif self._spare is not None and pid == self._spare.pid:
                    self._spare.is_over = True
                    self._lose_spare(os.waitstatus_to_exitcode(ended))
                elif pid == self._check:
                    self._take_check(os.waitstatus_to_exitcode(ended))
        except Exception as error:  # noqa: BLE001 - nobody would serve from here on
            self._fault = error
            self._engine.stop()

    def _take_end(self, status: int) -> None:
        worker = self._worker
        number = ended_by(status)
        if worker.leaving is not None:
            left = worker.leaving
            reloads = left.reloads
            following = replace(self._handover, reload=left.reload, reloads=reloads, signal=None)
            self._begin_next(following, worker.files.carried if worker.carries else -1)
        elif worker.is_spare and worker.hello is None and not self._handlers.stops:
            # It could not load the server ahead, maybe. Another one does it in the ordinary way.
            assert worker.given is not None
            self._begin_next(worker.given, -1)
        elif number is None or not self._has_served or self._handlers.stops:
            self._end(status, number)
        else:
            text = read_traceback(worker.files.traceback)
            now = time.clock_gettime(time.CLOCK_MONOTONIC)
            before = self._handover if worker.serves else worker.given
            assert before is not None
            if self._settings.no_restart:
                self._end(status, number)
                for line in before.after(number, now, text).report()[1:]:
                    logger.error("%s", line)
                return
            self._begin_next(before.after(number, now, text), worker.files.ledger)

    def _end(self, status: int, number: signal.Signals | None) -> None:
        """The server ends, as its worker has."""
        if number is not None:
            logger.error("the worker was ended by %s, and the server ends", number.name)
        elif status == NOT_RUN:
            logger.error("the server ends: %s can't be run any more", self._command.program)
        if status != 0 and self._has_served and not self._handlers.stops:
            self._resources.keep_record()
        self._status = status if status >= 0 else 1
        if self._readiness is not None:
            self._readiness.failed(*(self._worker.failed or (daemon.end_in_words(status), 1)))
        self._engine.stop()

    def _begin_next(self, following: Handover, ledger: int) -> None:
        """Start a worker that goes on with all connections.

        Args:
            following: What it is told.
            ledger: What the last one has left of them, if that has served; otherwise it is what the
                one before has left.
        """
        before = self._worker
        self._roster.detach(self._engine.fileno())
        self._close_channel(before)
        if before.serves:
            self._ledger = ledger
            before.close(but=ledger)
        else:
            before.close()
        self._handover = following
        self._forget_deadline()
        worker, self._spare = self._spare, None
        if worker is None:
            try:
                worker = self._start_worker(is_spare=False)
            except OSError as error:
                logger.error("no worker can be started: %s", error.strerror)  # noqa: TRY400 - it says all
                self._end(1, None)
                return
        worker.given = following
        self._worker = worker
        if self._handlers.stops:
            worker.tell(signal.SIGTERM)
            self._await_end()
        elif self._again:
            worker.tell(signal.SIGUSR2)
        self._again = False
        if worker.hello is not None:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give the worker all that the last one has left."""
        worker = self._worker
        assert worker.given is not None
        assert worker.hello is not None
        if worker.hello.protocol != PROTOCOL:
            what = "dorrit on the disk is a release that this supervisor can't speak with"
            logger.error("%s; a reload would have replaced that as well", what)
            worker.tell(signal.SIGKILL)
            self._end(1, None)
            return
        self._roster.attach(worker.take_channel(), self._engine.fileno())
        self._roster.hand_over(encoded(worker.given), self._ledger)
        self._send()

    def _start_worker(self, *, is_spare: bool) -> WorkerProcess:
        """Start one, and wait for its hello.

        Raises:
            OSError: There is no process, descriptor or memory for it.
        """
        # Clients may have taken all other descriptors.
        for descriptor in self._kept_back:
            os.close(descriptor)
        self._kept_back = []
        try:
            worker = WorkerProcess.start(
                self._command, is_spare=is_spare, ahead=is_spare and self._settings.preload
            )
        finally:
            self._kept_back = _spare_descriptors()
        self._engine.watch(worker.channel, partial(self._hear_hello, worker))
        return worker

    def _hear_hello(self, worker: WorkerProcess) -> None:
        """Hear what a worker says first."""
        try:
            if not worker.hear_hello():
                return
            assert worker.hello is not None
        except (EOFError, ValueError, OSError) as error:
            if not isinstance(error, EOFError):
                logger.error("the worker %d is killed: %s", worker.pid, error)  # noqa: TRY400 - it says all
                worker.tell(signal.SIGKILL)
            self._close_channel(worker)
            return
        self._engine.unwatch(worker.channel)
        if worker is self._worker:
            self._hand_over()
        elif self._reload_later is not None and worker.hello.release != RELEASE:
            self._replace_after_check()
        else:
            self._go_on_reloading()

    def _close_channel(self, worker: WorkerProcess) -> None:
        """Close the channel to one that has not been given anything."""
        if worker.channel >= 0:
            self._engine.unwatch(worker.channel)
            os.close(worker.take_channel())

    # The spare worker

    def _begin_spare_in(self, seconds: float) -> None:
        if self._spare_later is None and not self._handlers.stops:
            self._spare_later = self._engine.every(seconds, self._begin_spare)

    def _begin_spare(self) -> None:
        """Have a worker ready for when the one that serves has ended."""
        if self._spare_later is not None:
            self._spare_later.cancel()
            self._spare_later = None
        if self._spare is not None or self._handlers.stops or self._worker.is_over:
            return
        try:
            self._spare = self._start_worker(is_spare=True)
        except OSError as error:
            logger.warning("there is no spare worker: %s", error.strerror)
            self._begin_spare_in(SPARE_AGAIN)

    def _lose_spare(self, status: int) -> None:
        """The spare worker has ended, which nobody notices but the next reload or crash."""
        said_hello = self._spare is not None and self._spare.hello is not None
        self._end_spare()
        number = ended_by(status)
        how = f"exit status {status}" if number is None else number.name
        logger.warning("the spare worker has ended: %s", how)
        self._go_on_reloading()
        if said_hello:
            self._begin_spare_in(SPARE_AGAIN)

    def _end_spare(self, *, waits: bool = False) -> None:
        """Have no spare worker."""
        if self._spare_later is not None:
            self._spare_later.cancel()
            self._spare_later = None
        spare, self._spare = self._spare, None
        if spare is None:
            return
        self._close_channel(spare)
        spare.end()
        if waits and not spare.is_over:
            with suppress(ChildProcessError):
                os.waitpid(spare.pid, 0)


def _spare_descriptors() -> list[int]:
    """Keep some descriptors, as far as there are any."""
    kept = []
    with suppress(OSError):
        kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(SPARE)]
    return kept


def _nobody(*_: object) -> NoReturn:
    raise RuntimeError("a supervisor serves no client itself")


def main() -> int:
    """Go on as the supervisor of a server; return the exit status."""
    made = ExitStack()
    if (status := check(sys.argv)) is not None:
        return status
    try:
        handover = restart.inherited()
        if handover is None or handover.supervised is None:
            print(f"dorrit: {__name__} is run by dorrit alone", file=sys.stderr)  # noqa: T201 - there is no log
            return 2
        with made:
            own = Command.current()
            supervisor = Supervisor(handover, dict(handover.supervised), own, made)
            return supervisor.run()
    except (OSError, StartError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else error
        logger.error("the supervisor ends: %s", reason)  # noqa: TRY400 - it says all
        return 1
    except Exception as error:  # noqa: BLE001 - the log is all that says so
        log_raised(logging.CRITICAL, "the supervisor ends, for a reason it does not know", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
