"""A server from its start handler to its stop handler: it listens, says so, and serves."""

import logging
import os
from contextlib import closing

from dorrit.drive import hooks
from dorrit.drive.driver import ServerLoop
from dorrit.drive.graces import SLACK
from dorrit.drive.server_process import ServerProcess
from dorrit.drive.slow import Watch
from dorrit.errors import StartError
from dorrit.process.control.status import Status
from dorrit.process.crash.restart import Restarter
from dorrit.process.credentials import privileges
from dorrit.process.credentials.privileges import Identity
from dorrit.process.exec.handover import Handover
from dorrit.process.exit.forked import ended_in_children
from dorrit.version import __version__

logger: logging.Logger = logging.getLogger("dorrit")


def run(process: ServerProcess, identity: Identity, handover: Handover) -> None:
    """Serve until a signal, or until a callback exits.

    Args:
        process: Holds the socket, which listens from now on.
        identity: Who the process is.
        handover: What the next image gets after a crash.
    """
    settings = process.settings
    loop = process.made.enter_context(closing(process.loop_type(process.application, settings)))
    loop.engine.stay()
    process.made.enter_context(process.handlers.connected(loop.stop, loop.engine.wakeup_descriptor))
    process.steps.begin("the start handler", settings.stop_grace)
    hooks.start(loop)
    process.log.take_root()
    restarter = None
    try:
        _listen(process, loop, identity, handover)
        if process.guard is not None:
            process.guard.release_signals()
        if not settings.no_restart:
            restarter = process.arm(handover, process.application.file)
        _say_ready(process, loop)
        if process.guard is not None:
            process.guard.forget()
        process.steps.begin("a handler", settings.stop_grace)
        if settings.slow_handler > 0:
            process.made.callback(Watch(loop.engine, settings.slow_handler).close)
        try:
            with ended_in_children():
                loop.run()
        finally:
            _end_connections(process, loop, restarter)
    finally:
        process.steps.begin("the stop handler", settings.stop_grace + SLACK, ends=True)
        process.stop_failed = not hooks.stop(loop)


def _listen(
    process: ServerProcess, loop: ServerLoop, identity: Identity, handover: Handover
) -> None:
    """Have the engine take clients, and answer `dorrit status`."""
    resources, engine = process.resources, loop.engine
    user = identity.user or str(identity.uid)
    group = privileges.group_name(identity.gid)

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

    resources.listener.listen()
    engine.listen(resources.listener.descriptor)
    resources.status_socket.listen(describe)
    engine.watch(resources.status_socket.descriptor, resources.status_socket.answer)


def _say_ready(process: ServerProcess, loop: ServerLoop) -> None:
    """Tell whoever waits for it, and the log, that clients can connect."""
    if process.handlers.received is not None and process.readiness is not None:
        raise StartError(f"told to stop by {process.handlers.received.name} before it was ready")
    listening = f"listening on {process.resources.listener.path}"
    logger.info("%s", listening)
    if process.readiness is not None:
        process.log.leave_terminal()
        process.readiness.ready()
        process.log.take_prints()
    elif process.settings.log is not None:
        process.log.leave_terminal()
    notifier = process.launch.notifier
    notifier.ready(listening, main_pid=os.getpid() if process.is_daemon else None)
    interval = notifier.watchdog_interval()
    if interval is not None:
        notifier.alive()
        loop.engine.every(interval, notifier.alive)
    process.serves = True


def _end_connections(process: ServerProcess, loop: ServerLoop, restarter: Restarter | None) -> None:
    """Tell all clients, and wait for them."""
    settings = process.settings
    if restarter is not None:
        restarter.disarm()
    process.launch.notifier.stopping()
    logger.info("stopping")
    # Handlers before and after the close frames, as `Stopping.shut_down` has it.
    handlers = 2 * (settings.stop_grace + SLACK)
    process.steps.begin("a handler", settings.stop_timeout + handlers, ends=True)
    with ended_in_children():
        loop.shutdown(0 if process.is_hurried else settings.stop_timeout)
