"""ServerProcess: what the process of a server holds, and what both of its starts do with it."""

import errno
import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Protocol

from dorrit.drive import hooks
from dorrit.drive.application import Application
from dorrit.drive.choice import LoopType, loop_type
from dorrit.drive.graces import SLACK
from dorrit.drive.lasting import lasting_facts
from dorrit.drive.run_settings import RunSettings
from dorrit.drive.steps import Steps
from dorrit.drive.worker import Worker
from dorrit.errors import StartError, reason_of
from dorrit.process.control.signals import SignalHandlers
from dorrit.process.crash import restart
from dorrit.process.crash.starting import Guard
from dorrit.process.crash.traceback_file import TracebackFile
from dorrit.process.credentials.privileges import Identity
from dorrit.process.exec.handover import Handover
from dorrit.process.exit import leaving
from dorrit.process.fork import children, daemon
from dorrit.process.log.log import Log
from dorrit.process.start.launch import Launch
from dorrit.process.start.limits import raise_descriptor_limit
from dorrit.process.start.resources import Resources, ResourcesOfSupervisor
from dorrit.settings import Settings

logger: logging.Logger = logging.getLogger("dorrit")

LINGERING_BESIDES: Final = 1024
"""Descriptors for connections that are over but have not been closed yet."""


class Replacing(Protocol):
    """Has the next image follow this one; see `dorrit.drive.replacement`."""

    def begin(self) -> None:
        """Have the image be replaced when the interpreter ends."""
        ...


class Waiting(Protocol):
    """Looks after connections that are to be taken; see `dorrit.drive.start_timeout`."""

    def over(self) -> None:
        """Leave them to who has called this."""
        ...


class ServerProcess:
    """This process, or its daemon, from the first look at how it was started to its end.

    Attributes:
        made: Undoes what is made, the last first.
        held: Undoes, after that, what a next image goes on with if there is one.
        launch: How the process was started.
        log: Its log.
        handlers: Its signal handlers.
        steps: What runs now.
        application: What is run, once that is loaded.
        loop_type: Makes what the application runs in.
        resources: What the server holds in the file system.
        worker: What the process has of its supervisor; None: it is alone.
        is_daemon: It is a daemon, or becomes one.
        serves: Clients are told that they can connect.
        stop_failed: The stop handler has raised.
        guard: What a crash during the first start leaves behind; None after a crash.
        readiness: Whom a daemon tells that it is ready; None if it does not.
        facts: What a reload can't change (`dorrit.drive.lasting`).
        replacement: Has the next image follow; None if the process ends with this one.
        untaken: Tells of the connections of the image before, until an engine has them; None: there
            are none.
        keeps_engine: The engine is not to be closed: its connections are the next image's.
        ledger: What connections are written down in, for as long as the process lives.
        traceback_file: What a crash of a worker leaves a traceback by.
        start_timeout: Looks after the connections of the image before, until they are taken; None
            if there are none.
    """

    application: Application
    loop_type: LoopType
    resources: Resources | ResourcesOfSupervisor
    worker: Worker | None = None
    is_daemon: bool = False
    serves: bool = False
    stop_failed: bool = False
    guard: Guard | None = None
    readiness: daemon.Readiness | None = None
    replacement: Replacing | None = None
    start_timeout: Waiting | None = None
    untaken: Handover | None = None
    keeps_engine: bool = False
    ledger: object = None
    traceback_file: TracebackFile | None = None

    def __init__(
        self, load: Callable[[], Application], given: Mapping[str, Any], made: ExitStack
    ) -> None:
        """Look at how the process was started.

        Args:
            load: Loads the server's own code.
            given: The options that stood on the command line.
            made: Undoes what is made here, the last first.

        Raises:
            StartError: What the process has inherited can't be used.
        """
        self.made = made
        self.held: ExitStack = ExitStack()
        self.facts: Mapping[str, str | None] = {}
        self._load = load
        self._settings = RunSettings(given)
        self.launch: Launch = Launch.current()
        if self.launch.worker is not None:
            self.worker = Worker(self.launch.worker, lambda: self.handlers.reloads)
            self.launch = self.launch._replace(is_repeated=True)
        self.log: Log = Log(self.settings.log_level, self.settings.log_format)
        self.steps: Steps = Steps(self.settings.stop_grace, lambda: self.handlers.stops)
        self.handlers: SignalHandlers = SignalHandlers(self.log.reopen, self.steps.look)
        if self.worker is not None:
            if self.launch.ahead:
                self._load_ahead()
            self.worker.wait_for_turn()
            self.launch = self.launch._replace(handover=self.worker.receive())

    @property
    def settings(self) -> Settings:
        """What holds by now."""
        return self._settings.now

    @property
    def is_hurried(self) -> bool:
        """Whether it was told to stop twice: then it does not wait."""
        return self.handlers.stops > 1

    @property
    def has_no_terminal(self) -> bool:
        """Whether signals of a terminal are for nobody, or for its supervisor."""
        return self.is_daemon or self.worker is not None

    def threads_grace(self) -> float:
        """Seconds that threads have to finish when all else has ended."""
        return leaving.HURRIED if self.is_hurried else self.settings.stop_grace

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Have what the system refuses before the server serves be the reason why it can't."""
        try:
            yield
        except OSError as error:
            if self.serves:
                raise
            raise StartError(reason_of(error)) from None

    # The server's code

    def _load_ahead(self) -> None:
        """Load the server in a worker that has no connections yet.

        Raises:
            StartError: It can't be loaded. Whoever goes on in its place says why.
        """
        self.handlers.install(daemon=True)
        restart.release_signals()
        self.application = self._settings.load(self._load)
        # What has come meanwhile is for the time when there are connections.
        signal.pthread_sigmask(signal.SIG_BLOCK, restart.HELD)
        if self.handlers.received is not None:
            os.kill(os.getpid(), self.handlers.received)
            self.handlers.received, self.handlers.stops = None, 0

    def load(self) -> None:
        """Load the server, whose code may have settings of its own."""
        if not self.launch.ahead:
            self.application = self._settings.load(self._load)
        self.facts = lasting_facts(self.application, self.settings)
        self.log.set_level(self.settings.log_level)
        self.log.set_layout(self.settings.log_format)
        if (mistake := self.application.check()) is not None:
            logger.warning("%s", mistake)

    def init(self) -> None:
        """Run ``ws_init_func`` (R7), which may set the server's name."""
        self.loop_type = loop_type(self.application, self.settings)
        hooks.init(self.application, in_log=self.launch.handover is not None)

    def exit(self) -> int:
        """Run ``ws_exit_func``, once, after a ``ws_init_func`` that did not raise (R8).

        Returns:
            The exit status.
        """
        self.steps.begin("ws_exit_func", self.settings.stop_grace, ends=True)
        try:
            ended = hooks.end(self.application)
        finally:
            self.steps.begin("what is left of the server", SLACK)
        return 0 if ended and not self.stop_failed else 1

    # What it holds

    def hold(self, resources: Resources | ResourcesOfSupervisor) -> None:
        """Have these until the end; what the server's code forks has nothing of the server."""
        self.resources = resources
        self.held.push(resources)
        self.steps.clean_by(resources.close)
        if self.guard is not None and isinstance(resources, Resources):
            self.guard.watch(resources.paths)
        for thing in (resources, self.launch.notifier, self.log):
            children.hold(thing)

    def keep_record(self) -> None:
        """Leave `dorrit restart` what it needs: nobody has told the server to end."""
        if "resources" in vars(self):
            self.resources.keep_record()

    def prepare_limits(self, identity: Identity) -> None:
        """Have as many descriptors as there may be connections, or say that there are fewer."""
        for warning in (
            identity.warning,
            raise_descriptor_limit(self.settings.max_connections, besides=LINGERING_BESIDES),
        ):
            if warning and not self.launch.is_repeated:
                logger.warning("%s", warning)

    def arm(
        self,
        handover: Handover,
        file: str | None = None,
        ledger: tuple[int, int] = restart.NO_LEDGER,
    ) -> restart.Restarter | None:
        """Have a crash restart the server (R28), if its user can read the server's file.

        That of a worker ends it, and its supervisor starts the next one, by the same command. The
        log says why that can't be, if it can't.

        Args:
            handover: What the next image gets.
            file: The server's file.
            ledger: Where its connections are written down.
        """
        files = [file] if file else []
        if self.worker is not None:
            self.traceback_file = TracebackFile(self.worker.files.traceback)
            _warn(restart.obstacles(self.launch.command, files))
            return None
        descriptor, prefix = self.log.crash_report()
        try:
            restarter = restart.prepare(
                handover,
                self.launch.command,
                files=files,
                report=descriptor,
                prefix=prefix,
                ledger=ledger,
            )
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                raise  # then it could not serve, either
            logger.warning("a crash will end the server: %s", error)
            return None
        self.made.callback(lambda: None if self.replacement else restarter.disarm())
        _warn(restarter.warnings)
        return restarter


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        logger.warning("%s", line)
