"""Runs a server from its start to its end, in the order of libdorrit(3)."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Final

from dorrit.drive.application import Application
from dorrit.drive.checking import problems, report
from dorrit.drive.choice import LoopType, loop_type
from dorrit.drive.driver import ServerLoop
from dorrit.drive.graces import HURRIED, SLACK
from dorrit.drive.run_settings import RunSettings
from dorrit.drive.slow import Watch
from dorrit.errors import StartError, reason_of
from dorrit.logger import log_raised
from dorrit.process.control.signals import SignalHandlers
from dorrit.process.control.status import Status
from dorrit.process.crash import restart, stacks
from dorrit.process.crash.starting import Guard
from dorrit.process.credentials import privileges
from dorrit.process.credentials.privileges import Identity
from dorrit.process.exec.handover import Handover
from dorrit.process.exit import leaving
from dorrit.process.exit.overdue import Overdue
from dorrit.process.fork import children, daemon
from dorrit.process.log.log import NO_SYSLOG, Log
from dorrit.process.running import check_request
from dorrit.process.start.launch import Launch
from dorrit.process.start.limits import raise_descriptor_limit
from dorrit.process.start.resources import ResourcePlan, Resources
from dorrit.raised import EXITS, summary_of, traceback_of
from dorrit.settings import Settings
from dorrit.version import __version__

logger: logging.Logger = logging.getLogger("dorrit")

LINGERING_BESIDES: Final = 1024
"""Descriptors for connections that are over but have not been closed yet."""


def serve(load: Callable[[], Application], given: Mapping[str, Any]) -> int:
    """Run a server until it is told to stop.

    Args:
        load: Loads the server's own code.
        given: The options that stood on the command line; see `dorrit.settings.given`.

    Returns:
        The exit status: 0, or 1 if ``ws_exit_func`` or the stop handler raised. As a daemon, only
        the daemon returns: the process that was called exits when the daemon is ready.

    Raises:
        StartError: It can't start. If ``ws_init_func`` was the reason, its traceback has been
            printed, and nothing has been created.
        SystemExit: A callback has called ``sys.exit``, and the server was stopped in order; or it
            is a daemon that can't start, which has been said.
    """
    asked = check_request.received()
    if asked is not None:
        return _check(load, given, asked)
    made = ExitStack()
    try:
        run = Run(load, given, made)
    except OSError as error:
        raise StartError(reason_of(error)) from None
    status = 1
    try:
        with made:
            status = run.run()
    except BaseException as error:
        status = leaving.status_of(error)
        raise
    finally:
        # By now nothing is left of it but the process, and the threads of its code.
        run.overdue.over()
        if not leaving.leave_in_time(run.patience, status, run.log.crash_report()):
            run.handlers.close()
    return status


def _check(load: Callable[[], Application], given: Mapping[str, Any], descriptor: int) -> int:
    """Look for mistakes only (`dorrit.process.running.check_request`); return the exit status."""
    found = problems(load, given)
    if not found:
        os.write(descriptor, check_request.PASSED)
    return report(found)


class Run:
    """One run of a server: this process, or its daemon, until it ends."""

    application: Application
    loop_type: LoopType
    resources: Resources
    is_daemon: bool = False
    serves: bool = False
    stop_failed: bool = False
    guard: Guard | None = None

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
        self.load = load
        self.made = made
        self._settings = RunSettings(given)
        self.launch: Launch = Launch.current()
        self.log: Log = Log(self.settings.log_level, self.settings.log_format)
        self.handlers: SignalHandlers = SignalHandlers(self.log.reopen, self._watch)
        self.overdue: Overdue = Overdue(self._clean)
        self._pid = os.getpid()
        self._step = ("the start of the server", self.settings.stop_grace)
        self._ends = False
        self.readiness: daemon.Readiness | None = None

    @property
    def settings(self) -> Settings:
        """What holds by now."""
        return self._settings.now

    def run(self) -> int:
        """Run it; return the exit status."""
        handover = self.launch.handover
        if not self.settings.no_restart:
            self.made.enter_context(stacks.covered_threads())
        try:
            with self._starting():
                return self.start() if handover is None else self.start_again(handover)
        except StartError:
            if handover is not None:
                self._keep_record()
            raise
        except EXITS:
            raise
        except BaseException as error:
            self._keep_record()
            # A daemon's stderr leads nowhere.
            log_raised(
                logging.CRITICAL, "the server ends, for a reason that it does not know", error
            )
            raise

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Have what the system refuses before the server serves be the reason why it can't."""
        try:
            yield
        except OSError as error:
            if self.serves:
                raise
            raise StartError(reason_of(error)) from None

    def patience(self) -> float:
        """Seconds that threads have to finish when all else has ended."""
        return leaving.HURRIED if self.is_hurried else self.settings.stop_grace

    @property
    def is_hurried(self) -> bool:
        """Whether it was told to stop twice: then it does not wait."""
        return self.handlers.stops > 1

    # What its code does, which may take too long

    def _begin(self, step: str, seconds: float, *, ends: bool = False) -> None:
        """Note what is called now, and how many seconds it has when the server is to end."""
        self._step = (step, seconds)
        self._ends = self._ends or ends
        if self._ends or self.handlers.stops > 0:
            self._watch(begins=True)

    def _watch(self, *, begins: bool = False) -> None:
        """Look at the clock; also called by the handlers of signals."""
        if os.getpid() == self._pid:  # one that the server's code has forked is none of ours
            step, seconds = self._step
            patience = HURRIED if self.is_hurried else seconds + SLACK
            self.overdue.within(step, patience, begins=begins)

    def _clean(self) -> None:
        if "resources" in vars(self):
            self.resources.close()

    # The two ways to start

    def start(self) -> int:
        """Start in the ordinary way: options, ws_init_func, files, daemon, privileges, listening.

        libdorrit(3): "Dorrit calls ws_init_func() ... before attempting to change the server's user
        and group ... before the server becomes a daemon and starts listening for connections."
        """
        self.guard = Guard()
        self.made.callback(self.guard.close)
        self._load()
        self.is_daemon = not self.settings.foreground
        identity = privileges.resolve(self.settings.user, self.settings.group)
        self._init()
        try:
            with self._starting():
                self.handlers.install(daemon=False)
                if self.settings.log is not None:
                    self.log.use_file(self.settings.log, identity)
                self._prepare_limits(identity)
                plan = ResourcePlan(
                    name=self.application.name,
                    listen=self.settings.listen,
                    given=self.launch.given,
                    identity=identity,
                    command=self.launch.command if self.is_daemon else None,
                )
                self.resources = self.made.enter_context(Resources(plan))
                self.guard.watch(self.resources.paths)
                self._hide_from_children()
                if self.is_daemon:
                    self._detach()
                self._drop(identity)
                self._serve(identity, self.resources.handover())
        except StartError as error:
            if self.readiness is None:
                raise
            self.log.leave_terminal()  # where the command is about to say it
            logger.error("%s", error)  # noqa: TRY400 - it says all there is to say
            self.readiness.failed(str(error), error.status)
            raise SystemExit(error.status) from None
        finally:
            clean = self._exit()
        return 0 if clean else 1

    def start_again(self, handover: Handover) -> int:
        """Start as the next image after a crash: what the last one had is taken over (R29)."""
        self.is_daemon = handover.daemon
        if self.is_daemon:
            self.log.use_syslog(handover.name)
            self.log.leave_terminal()
            self.log.take_prints()
        self._use_file_again()
        try:
            with self._starting():
                return self._start_again(handover)
        except StartError as error:
            if self.is_daemon:
                logger.error("the server can't go on after a crash: %s", error)  # noqa: TRY400 - it says all
            raise

    def _start_again(self, handover: Handover) -> int:
        for line in handover.report():
            logger.error("%s", line)
        self.resources = self.made.enter_context(Resources.adopt(handover, daemon=self.is_daemon))
        self._hide_from_children()
        delay = handover.delay()
        if delay > 0:
            line = restart.waiting(delay, handover.restarts)
            logger.warning("%s", line)
            self.launch.notifier.status(line)
        if self.launch.wait_after_crash(delay) is not None:
            logger.info("told to stop before the server was started again")
            return 0
        self.handlers.install(daemon=self.is_daemon)
        restart.release_signals()
        if not self.settings.no_restart:
            self._arm(handover)  # its start may crash as well
        self._load()
        if self._use_file_again():
            for line in handover.report():
                logger.error("%s", line)
        by_root = os.geteuid() == 0
        identity = privileges.resolve(
            self.settings.user if by_root else None, self.settings.group if by_root else None
        )
        self._init()
        try:
            self.handlers.install(daemon=self.is_daemon)  # if ws_init_func has taken them over
            if self.is_daemon:
                daemon.leave_directory()
            self._prepare_limits(identity)
            privileges.drop(identity)
            self._serve(identity, handover)
        finally:
            clean = self._exit()
        return 0 if clean else 1

    # The steps

    def _load(self) -> None:
        """Load the server, whose code may have settings of its own."""
        self.application = self._settings.load(self.load)
        self.log.set_level(self.settings.log_level)
        self.log.set_layout(self.settings.log_format)
        if (mistake := self.application.check()) is not None:
            logger.warning("%s", mistake)

    def _use_file_again(self) -> bool:
        """Have the log go to its file after a crash; return whether it does so from now on.

        It may be known only when the server has been loaded, whose code names it.
        """
        path = self.settings.log
        if path is None or path == self.log.path:
            return False
        try:
            self.log.use_file(path)
        except StartError as error:
            logger.error("%s", error)  # noqa: TRY400 - no reason not to serve
            return False
        self.log.leave_terminal()
        return True

    def _init(self) -> None:
        """Run ``ws_init_func`` (R7), which may set the server's name."""
        self.loop_type = loop_type(self.application, self.settings)
        try:
            self.application.init()
        except EXITS:
            raise
        except BaseException as error:  # noqa: BLE001 - the user's
            if self.launch.handover is None:
                sys.stderr.write(traceback_of(error))
            else:
                log_raised(logging.ERROR, "ws_init_func raised", error)
            raise StartError(f"ws_init_func raised {summary_of(error)}") from None

    def _exit(self) -> bool:
        """Run ``ws_exit_func``, once, after a ``ws_init_func`` that did not raise (R8)."""
        self._begin("ws_exit_func", self.settings.stop_grace, ends=True)
        try:
            with leaving.ended_in_children():
                self.application.exit()
        except EXITS:
            raise
        except BaseException as error:  # noqa: BLE001 - the user's
            log_raised(logging.ERROR, "ws_exit_func raised", error)
            return False
        finally:
            self._begin("what is left of the server", SLACK)
        return not self.stop_failed

    def _hide_from_children(self) -> None:
        """Have the processes that the server's code forks hold nothing of the server."""
        for thing in (self.resources, self.launch.notifier, self.log):
            children.hold(thing)

    def _prepare_limits(self, identity: Identity) -> None:
        for warning in (
            identity.warning,
            raise_descriptor_limit(self.settings.max_connections, besides=LINGERING_BESIDES),
        ):
            if warning and not self.launch.is_repeated:
                logger.warning("%s", warning)

    def _detach(self) -> None:
        """Become a daemon (R22). Only that returns."""
        if self.settings.log is None and not self.log.use_syslog(self.resources.name):
            logger.warning("%s", NO_SYSLOG)
        if self.guard is not None:
            self.guard.forget()  # the command is not what has made them
        self.readiness = daemon.detach()
        if self.guard is not None:
            self.guard.watch(self.resources.paths)
        children.hold(self.readiness)
        self._pid = os.getpid()
        self.resources.own()
        self.handlers.install(daemon=True)
        self.launch.inherited.close()

    def _drop(self, identity: Identity) -> None:
        """Give up root's privileges (R26); what takes them at the end is left to a janitor."""
        if os.geteuid() == 0 and identity.uid != 0:
            janitor = self.resources.start_janitor()
            if self.guard is not None:
                self.guard.watch(self.resources.paths, janitor.descriptor)
        privileges.drop(identity)

    def _keep_record(self) -> None:
        """Leave `dorrit restart` what it needs: nobody has told the server to end."""
        if "resources" in vars(self):
            self.resources.keep_record()

    def _arm(self, handover: Handover, file: str | None = None) -> restart.Restarter:
        """Have a crash restart the server (R28), if its user can read the server's file."""
        descriptor, prefix = self.log.crash_report()
        restarter = restart.prepare(
            handover,
            self.launch.command,
            files=[file] if file else [],
            report=descriptor,
            prefix=prefix,
        )
        self.made.callback(restarter.disarm)
        for warning in restarter.warnings:
            logger.warning("%s", warning)
        return restarter

    def _serve(self, identity: Identity, handover: Handover) -> None:
        """Listen, say that it is ready, and serve until a signal, or until a callback exits."""
        resources = self.resources
        user = identity.user or str(identity.uid)
        group = privileges.group_name(identity.gid)
        loop = self.made.enter_context(closing(self.loop_type(self.application, self.settings)))
        engine = loop.engine
        engine.stay()
        self.made.enter_context(self.handlers.connected(loop.stop, engine.wakeup_descriptor))

        def describe() -> Status:
            return Status(
                name=resources.name,
                pid=os.getpid(),
                user=user,
                group=group,
                socket=resources.listener.path,
                started=handover.first_start,
                connections=engine.connections,
                restarts=handover.restarts,
                version=__version__,
            )

        self._start(loop)
        self.log.take_root()
        restarter = None
        try:
            resources.listener.listen()
            engine.listen(resources.listener.descriptor)
            resources.status_socket.listen(describe)
            engine.watch(resources.status_socket.descriptor, resources.status_socket.answer)
            if self.guard is not None:
                self.guard.release_signals()
            if not self.settings.no_restart:
                restarter = self._arm(handover, self.application.file)
            self._say_ready(loop)
            if self.guard is not None:
                self.guard.forget()
            self._begin("a handler", self.settings.stop_grace)
            if self.settings.slow_handler > 0:
                self.made.callback(Watch(engine, self.settings.slow_handler).close)
            try:
                with leaving.ended_in_children():
                    loop.run()
            finally:
                if restarter is not None:
                    restarter.disarm()
                self.launch.notifier.stopping()
                logger.info("stopping")
                # Handlers before and after the close frames, as `Stopping.shut_down` has it.
                patience = 2 * (self.settings.stop_grace + SLACK)
                self._begin("a handler", self.settings.stop_timeout + patience, ends=True)
                with leaving.ended_in_children():
                    loop.shutdown(0 if self.is_hurried else self.settings.stop_timeout)
        finally:
            self._stop(loop)

    def _start(self, loop: ServerLoop) -> None:
        """Run the start handler."""
        self._begin("the start handler", self.settings.stop_grace)
        try:
            with leaving.ended_in_children():
                loop.start()
        except (StartError, *EXITS):
            raise
        except BaseException as error:  # noqa: BLE001 - the user's
            log_raised(logging.ERROR, "the start handler raised", error)
            raise StartError(f"on_start raised {summary_of(error)}") from None

    def _stop(self, loop: ServerLoop) -> None:
        """Run the stop handler."""
        self._begin("the stop handler", self.settings.stop_grace + SLACK, ends=True)
        try:
            with leaving.ended_in_children():
                loop.finish()
        except EXITS:
            raise
        except BaseException as error:  # noqa: BLE001 - the user's
            log_raised(logging.ERROR, "the stop handler raised", error)
            self.stop_failed = True

    def _say_ready(self, loop: ServerLoop) -> None:
        if self.handlers.received is not None and self.readiness is not None:
            raise StartError(f"told to stop by {self.handlers.received.name} before it was ready")
        listening = f"listening on {self.resources.listener.path}"
        logger.info("%s", listening)
        if self.readiness is not None:
            self.log.leave_terminal()
            self.readiness.ready()
            self.log.take_prints()
        elif self.settings.log is not None:
            self.log.leave_terminal()
        notifier = self.launch.notifier
        notifier.ready(listening, main_pid=os.getpid() if self.is_daemon else None)
        interval = notifier.watchdog_interval()
        if interval is not None:
            notifier.alive()
            loop.engine.every(interval, notifier.alive)
        self.serves = True
