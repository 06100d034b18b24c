"""A server from its start handler to its stop handler: it listens, says so, and serves."""

import logging
import os
from dataclasses import replace

from dorrit.drive import hooks
from dorrit.drive.carried import Ledger, carry_in
from dorrit.drive.dismissing import dismiss_carried
from dorrit.drive.driver import ServerLoop
from dorrit.drive.graces import SLACK
from dorrit.drive.reloading import Reloading
from dorrit.drive.replacement import Replacement
from dorrit.drive.server_process import ServerProcess
from dorrit.drive.slow import Watch
from dorrit.errors import StartError
from dorrit.process.control.status import Status, restarted
from dorrit.process.crash.restart import Restarter
from dorrit.process.credentials import privileges
from dorrit.process.credentials.privileges import Identity
from dorrit.process.exec.handover import CRASH, STARTING, Handover, Restart
from dorrit.process.exec.memfd import unshrinkable_file
from dorrit.process.exit.forked import ended_in_children
from dorrit.process.start.resources import Resources
from dorrit.protocol.closing import CloseCode
from dorrit.version import __version__

logger: logging.Logger = logging.getLogger("dorrit")


def run(process: ServerProcess, identity: Identity, handover: Handover) -> None:
    """Serve until a signal, or until a callback exits.

    Args:
        process: Holds the socket, which listens from now on.
        identity: Who the process is.
        handover: What the next image gets after a crash; what this one has got of the last, with
            the connections of that.
    """
    settings = process.settings
    loop = process.loop_type(process.application, settings)
    process.made.callback(lambda: None if process.keeps_engine else loop.close())
    loop.engine.stay()
    process.made.enter_context(process.handlers.connected(loop.stop, loop.engine.wakeup_descriptor))
    process.steps.begin("the start handler", settings.stop_grace)
    hooks.start(loop)
    process.log.take_root()
    restarter = None
    resumed, handover = handover, handover.without_connections()
    reloading = Reloading(process, loop, handover)
    is_replaced = False
    try:
        _listen(process, loop, identity, handover, reloading)
        handover = _resume(process, loop, resumed, reloading)
        if process.guard is not None:
            process.guard.release_signals()
        if not settings.no_restart:
            recorded = _record(process, loop, handover)
            restarter = process.arm(recorded, process.application.file, loop.engine.record_place)
        if resumed.ledger is not None:
            os.close(resumed.ledger)
            process.keeps_engine = False
        _say_ready(process, loop, reloading.last)
        if process.worker is not None:
            process.worker.ready(handover, process.settings)
        process.steps.begin("a handler", settings.stop_grace)
        if settings.slow_handler > 0:
            process.made.callback(Watch(loop.engine, settings.slow_handler).close)
        try:
            process.handlers.reload_by(reloading.ask)
            with ended_in_children():
                loop.run()
            is_replaced = _suspend(process, loop, handover, reloading)
        finally:
            reloading.close()
            if not is_replaced:
                _end_connections(process, loop, restarter)
    finally:
        process.steps.begin("the stop handler", settings.stop_grace + SLACK, ends=True)
        process.stop_failed = not hooks.stop(loop)


def _resume(
    process: ServerProcess, loop: ServerLoop, resumed: Handover, reloading: Reloading
) -> Handover:
    """Take the connections of the last image, if there are some; return what is left of it."""
    taken = lost = 0
    if process.start_timeout is not None:
        process.start_timeout.over()
    process.untaken = None
    if process.worker is not None:
        taken, lost = process.worker.take(loop.engine, resumed)
        process.keeps_engine = resumed.ledger is not None
    elif resumed.ledger is not None:
        try:
            taken, lost = carry_in(loop.engine, resumed)
        except (OSError, ValueError) as error:
            logger.error("no connection can be carried over: %s", error)  # noqa: TRY400 - it says all
            taken, lost = 0, len(resumed.carried)
        process.keeps_engine = True  # as long as the ledger may be needed once more
    restart = resumed.restart(taken, lost)
    if restart is not None:
        _log_restart(restart)
        reloading.over(restart)
    handover = resumed.without_connections()
    return replace(handover, reloads=reloading.reloads, last=reloading.last)


def _log_restart(restart: Restart) -> None:
    if restart.kind != CRASH:
        logger.info(
            "reloaded: %d connections were carried over in %.3f seconds",
            restart.carried,
            restart.seconds,
        )
    elif restart.carried:
        logger.info("%d connections go on after the crash", restart.carried)
    if restart.lost:
        logger.error("%d connections were lost in the restart", restart.lost)


def _record(process: ServerProcess, loop: ServerLoop, handover: Handover) -> Handover:
    """Have connections outlive a crash as well; return what the next image gets then."""
    given = None if process.worker is None else process.worker.files.ledger
    try:
        ledger = process.ledger = Ledger(given)
        loop.engine.record(ledger.descriptor)
    except OSError as error:
        logger.warning("no connection will outlive a crash: %s", error)
        return handover
    return handover.carrying(ledger.descriptor, ())


def _suspend(
    process: ServerProcess, loop: ServerLoop, handover: Handover, reloading: Reloading
) -> bool:
    """Come to rest if the server is to be reloaded and not to stop; return whether that is so."""
    if reloading.decided is None or process.handlers.stops:
        return False
    logger.info("reloading")
    process.launch.notifier.reloading()
    loop.suspend(process.settings.stop_grace)
    if process.handlers.stops:
        return False
    carried: Handover | None = None

    def carry() -> Handover:
        nonlocal carried
        reload, reloads = reloading.decided, replace(reloading.reloads, state=STARTING)
        carried = replace(handover, reload=reload, reloads=reloads)
        try:
            if process.worker is None:
                ledger = unshrinkable_file("connections")
            else:
                ledger = process.worker.files.carried
            sockets = loop.engine.carry_out(ledger)
        except (OSError, MemoryError) as error:
            # The stop handler has run: this image can't go on. There was room before it.
            logger.error(  # noqa: TRY400 - it says all
                "the server is reloaded without its connections, which can't be carried over: %s",
                error.strerror if isinstance(error, OSError) else "there is no memory",
            )
            _dismiss(loop, min(SLACK, process.settings.stop_timeout))
            return carried
        carried = carried.carrying(ledger, sockets)
        return carried

    def let_down(code: int, seconds: float) -> None:
        if carried is None:
            loop.engine.shutdown(seconds, code)
        else:
            dismiss_carried(carried, code, seconds)

    process.keeps_engine = True
    Replacement(process, carry, let_down)
    return True


def _dismiss(loop: ServerLoop, seconds: float) -> None:
    """End the connections, whatever the close callbacks raise: the new code is to serve."""
    try:
        loop.engine.shutdown(seconds, CloseCode.SERVICE_RESTART)
    except BaseException:
        logger.exception("not all clients are told that the server is reloaded")


def _listen(
    process: ServerProcess,
    loop: ServerLoop,
    identity: Identity,
    handover: Handover,
    reloading: Reloading,
) -> None:
    """Have the engine take clients, and answer `dorrit status`."""
    resources, engine = process.resources, loop.engine
    user = identity.user or str(identity.uid)
    group = privileges.group_name(identity.gid)

    def describe() -> Status:
        status = Status(
            name=resources.name,
            pid=os.getpid(),
            user=user,
            group=group,
            socket=resources.path,
            started=handover.first_start,
            connections=engine.connections,
            restarts=handover.restarts,
            version=__version__,
            unrecorded=engine.unrecorded,
        )
        return status.with_restarts(reloading.reloads, reloading.last)

    if process.worker is not None:
        process.worker.join(engine, describe, loop.stop)
        return
    assert isinstance(resources, Resources)
    resources.listener.listen()
    engine.listen(resources.listener.descriptor)
    resources.status_socket.listen(describe)
    engine.watch(resources.status_socket.descriptor, resources.status_socket.answer)


def _say_ready(process: ServerProcess, loop: ServerLoop, last: Restart) -> None:
    """Tell whoever waits for it, and the log, that clients can connect."""
    if process.handlers.received is not None and process.readiness is not None:
        raise StartError(f"told to stop by {process.handlers.received.name} before it was ready")
    listening = f"listening on {process.resources.path}"
    notifier = process.launch.notifier
    if process.readiness is not None:
        if process.worker is None:  # else its supervisor listens, as soon as it knows
            logger.info("%s", listening)
        process.log.leave_terminal()
        process.readiness.ready()
        process.log.take_prints()
    status = listening
    if last.kind:
        what = restarted(last.kind, last.carried, last.seconds, last.lost)
        status = f"{listening}; restarted {what}"
    notifier.ready(status, main_pid=os.getpid() if process.is_daemon else None)
    if process.guard is not None:
        process.guard.forget()  # whoever has seen the line below may have it crash, and serve again
    if process.readiness is None:
        if process.worker is None:
            logger.info("%s", listening)
        if process.settings.log is not None:
            process.log.leave_terminal()
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
