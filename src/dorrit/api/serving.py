"""Runs a procedural server from its start to its end, in the order of libdorrit(3)."""

import logging
import os
import traceback
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Final

import dorrit
from dorrit.api.procedural import Program
from dorrit.engine import Engine
from dorrit.errors import StartError
from dorrit.process import daemon, privileges, restart
from dorrit.process.handover import Handover
from dorrit.process.holdings import Holdings, Wanted
from dorrit.process.launch import Launch
from dorrit.process.limits import raise_descriptor_limit
from dorrit.process.log import Log
from dorrit.process.privileges import Identity
from dorrit.process.signals import Handlers
from dorrit.process.status import Status
from dorrit.settings import Settings

logger = logging.getLogger("dorrit")

STOP_TIMEOUT: Final = 10.0
"""Seconds for clients to take in that the server stops."""

LINGERING_BESIDES: Final = 1024
"""Descriptors for connections that are over but have not been closed yet."""


def serve(load: Callable[[], Program], settings: Settings) -> int:
    """Run a server until it is told to stop.

    Args:
        load: Loads the server's own code.
        settings: Its options.

    Returns:
        The exit status: 0, or 1 if ``ws_exit_func`` raised. As a daemon, only the daemon returns:
        the process that was called exits when the daemon is ready.

    Raises:
        StartError: It can't start. If ``ws_init_func`` was the reason, its traceback has been
            printed, and nothing has been created.
        SystemExit: A callback has called ``sys.exit``, and the server was stopped in order; or it
            is a daemon that can't start, which has been said.
    """
    with ExitStack() as made:
        run = Run(load, settings, made)
        try:
            handover = run.launch.handover
            return run.start() if handover is None else run.start_again(handover)
        except StartError:
            raise
        except Exception:
            # A daemon's stderr leads nowhere.
            logger.critical("the server ends, for a reason that it does not know", exc_info=True)
            raise


class Run:
    """One run of a server: this process, or its daemon, until it ends."""

    holdings: Holdings

    def __init__(self, load: Callable[[], Program], settings: Settings, made: ExitStack) -> None:
        """Look at how the process was started.

        Args:
            load: Loads the server's own code.
            settings: The options.
            made: Undoes what is made here, the last first.

        Raises:
            StartError: What the process has inherited can't be used.
        """
        self.load = load
        self.settings = settings
        self.made = made
        self.is_daemon = not settings.foreground
        self.launch = Launch.current()
        self.log = Log(settings.log_level)
        self.handlers = Handlers(self.log.reopen)
        self.readiness: daemon.Readiness | None = None

    # The two ways to start

    def start(self) -> int:
        """Start in the ordinary way: options, ws_init_func, files, daemon, privileges, listening.

        libdorrit(3): "Dorrit calls ws_init_func() ... before attempting to change the server's user
        and group ... before the server becomes a daemon and starts listening for connections."
        """
        identity = privileges.resolve(self.settings.user, self.settings.group)
        program, name = self._init()
        try:
            self.made.enter_context(self.handlers).install(daemon=False)
            self._prepare_limits(identity)
            wanted = Wanted(
                name=name,
                listen=self.settings.listen,
                given=self.launch.given,
                identity=identity,
                command=self.launch.command if self.is_daemon else None,
            )
            self.holdings = self.made.enter_context(Holdings(wanted))
            if self.is_daemon:
                self._detach()
            self._drop(identity)
            self._serve(program, identity, self.holdings.handover())
        except StartError as error:
            if self.readiness is None:
                raise
            self.log.leave_terminal()  # where the command is about to say it
            logger.error("%s", error)  # noqa: TRY400 - it says all there is to say
            self.readiness.failed(str(error), error.status)
            raise SystemExit(error.status) from None
        finally:
            clean = _exit(program)
        return 0 if clean else 1

    def start_again(self, handover: Handover) -> int:
        """Start as the next image after a crash: what the last one had is taken over (R29)."""
        if self.is_daemon:
            self.log.use_syslog(handover.name)
            self.log.leave_terminal()
        try:
            return self._start_again(handover)
        except StartError as error:
            if self.is_daemon:
                logger.error("the server can't go on after a crash: %s", error)  # noqa: TRY400
            raise

    def _start_again(self, handover: Handover) -> int:
        for line in handover.report():
            logger.error("%s", line)
        self.holdings = self.made.enter_context(Holdings.adopt(handover, daemon=self.is_daemon))
        delay = handover.delay()
        if delay > 0:
            line = restart.waiting(delay, handover.restarts)
            logger.warning("%s", line)
            self.launch.notifier.status(line)
        if self.launch.sit_out(delay) is not None:
            logger.info("told to stop before the server was started again")
            return 0
        self.made.enter_context(self.handlers).install(daemon=self.is_daemon)
        restart.release_signals()
        self._arm(handover)  # its start may crash as well
        by_root = os.geteuid() == 0
        identity = privileges.resolve(
            self.settings.user if by_root else None, self.settings.group if by_root else None
        )
        program, _name = self._init()
        try:
            self.handlers.install(daemon=self.is_daemon)  # if ws_init_func has taken them over
            if self.is_daemon:
                daemon.leave_directory()
            self._prepare_limits(identity)
            privileges.drop(identity)
            self._serve(program, identity, handover)
        finally:
            clean = _exit(program)
        return 0 if clean else 1

    # The steps

    def _init(self) -> tuple[Program, str | None]:
        """Load the server and run ``ws_init_func`` (R7).

        Returns:
            The server, and the name that it has set, if any.
        """
        program = self.load()
        try:
            return program, program.init(self.settings.config_file)
        except Exception as error:
            if self.launch.handover is None:
                traceback.print_exc()
            else:
                logger.exception("ws_init_func raised")
            raise StartError(f"ws_init_func raised {type(error).__name__}: {error}") from None

    def _prepare_limits(self, identity: Identity) -> None:
        for warning in (
            identity.warning,
            raise_descriptor_limit(self.settings.max_connections, besides=LINGERING_BESIDES),
        ):
            if warning:
                logger.warning("%s", warning)

    def _detach(self) -> None:
        """Become a daemon (R22). Only that returns."""
        self.log.use_syslog(self.holdings.name)
        self.readiness = daemon.detach()
        self.holdings.own()
        self.handlers.install(daemon=True)
        self.launch.inherited.close()

    def _drop(self, identity: Identity) -> None:
        """Give up root's privileges (R26); what takes them at the end is left to a janitor."""
        if os.geteuid() == 0 and identity.uid != 0:
            self.holdings.start_janitor()
        privileges.drop(identity)

    def _arm(self, handover: Handover, file: str | None = None) -> restart.Restarter | None:
        """Have a crash restart the server (R28), if its user can read the server's file."""
        if self.settings.no_restart:
            return None
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

    def _serve(self, program: Program, identity: Identity, handover: Handover) -> None:
        """Listen, say that it is ready, and serve until a signal, or until a callback exits."""
        settings, holdings = self.settings, self.holdings
        user = identity.user or str(identity.uid)
        group = privileges.group_name(identity.gid)
        engine = self.made.enter_context(
            closing(
                Engine(
                    on_open=program.on_open,
                    on_message=program.ws_read_callback,
                    on_close=program.on_close,
                    buffer_size=settings.buffer_size,
                    max_connections=settings.max_connections,
                )
            )
        )
        self.made.enter_context(self.handlers.connected(engine.stop, engine.wakeup_descriptor))
        holdings.listener.listen()
        engine.listen(holdings.listener.descriptor)

        def describe() -> Status:
            return Status(
                name=holdings.name,
                pid=os.getpid(),
                user=user,
                group=group,
                socket=holdings.listener.path,
                started=handover.first_start,
                connections=engine.connections,
                restarts=handover.restarts,
                version=dorrit.__version__,
            )

        holdings.status_socket.listen(describe)
        engine.watch(holdings.status_socket.descriptor, holdings.status_socket.answer)
        program.started(engine.every)
        restarter = self._arm(handover, program.file)
        self._say_ready(engine)
        try:
            engine.run()
        finally:
            if restarter is not None:
                restarter.disarm()
            self.launch.notifier.stopping()
            logger.info("stopping")
            engine.shutdown(STOP_TIMEOUT)

    def _say_ready(self, engine: Engine) -> None:
        if self.handlers.received is not None and self.readiness is not None:
            raise StartError(f"told to stop by {self.handlers.received.name} before it was ready")
        listening = f"listening on {self.holdings.listener.path}"
        logger.info("%s", listening)
        if self.readiness is not None:
            self.log.leave_terminal()
            self.readiness.ready()
        notifier = self.launch.notifier
        notifier.ready(listening, main_pid=os.getpid() if self.is_daemon else None)
        interval = notifier.watchdog_interval()
        if interval is not None:
            notifier.alive()
            engine.every(interval, notifier.alive)


def _exit(program: Program) -> bool:
    """Run ``ws_exit_func``, once, after a ``ws_init_func`` that did not raise (R8)."""
    try:
        program.ws_exit_func()
    except Exception:
        logger.exception("ws_exit_func raised")
        return False
    return True
