"""The start of a server after a crash or a reload: the last image has left what it had."""

import logging
import os
from dataclasses import replace
from signal import Signals

from dorrit.drive.carried import after_crash
from dorrit.drive.dismissing import START_FAILED, STOPPED, dismiss_carried
from dorrit.drive.graces import SLACK
from dorrit.drive.replacement import Replacement
from dorrit.drive.running import run
from dorrit.drive.server_process import ServerProcess
from dorrit.drive.start_timeout import StartTimeout
from dorrit.errors import StartError
from dorrit.process.control.status import shortened
from dorrit.process.crash import restart
from dorrit.process.credentials import privileges
from dorrit.process.exec.handover import FAILED, Handover, Reload
from dorrit.process.fork import daemon
from dorrit.process.start.resources import Resources, ResourcesOfSupervisor
from dorrit.raised import EXITS

logger: logging.Logger = logging.getLogger("dorrit")


def start_again(process: ServerProcess, handover: Handover) -> int:
    """Start as the next image after a crash or a reload: what the last one had is taken over (R29).

    If the new code of a reload fails, the image after this one tries again.

    Returns:
        The exit status, when the server has ended.
    """
    handover = after_crash(handover)
    process.is_daemon = handover.daemon
    if process.is_daemon:
        process.log.use_syslog(handover.name)
        process.log.leave_terminal()
        process.log.take_prints()
    _use_file(process)
    try:
        with process.starting():
            process.untaken = handover
            process.hold(
                Resources.adopt(handover, daemon=process.is_daemon)
                if process.worker is None
                else ResourcesOfSupervisor(handover.name, handover.socket)
            )
            return _start(process, handover)
    except StartError as error:
        if handover.reload is not None and "resources" in vars(process):
            return _try_again(process, handover, handover.reload, error)
        if process.is_daemon:
            what = "a crash" if handover.reload is None else "a reload"
            _log(f"the server can't go on after {what}: {error}")
        _dismiss(process, START_FAILED)
        raise
    except EXITS:
        _dismiss(process, STOPPED)
        raise
    except BaseException:
        _dismiss(process, START_FAILED)
        raise


def _start(process: ServerProcess, handover: Handover) -> int:
    _report(handover)
    ended_by = _wait(process, handover)
    if ended_by in restart.STOPPING:
        logger.info("told to stop before the server was started again")
        _dismiss(process, STOPPED)
        return 0
    if ended_by is not None:
        handover = _wanted_now(handover)
    reload = handover.reload
    has_failed = reload is not None and (reload.failures > 0 or handover.signal is not None)
    if reload is not None and has_failed and reload.left() <= 0:
        return _give_up(process)
    process.handlers.install(daemon=process.has_no_terminal)
    restart.release_signals()
    if not process.settings.no_restart:
        process.arm(handover)  # its start may crash as well
    if reload is not None:
        process.start_timeout = StartTimeout(process, handover, reload)
    process.load()
    if _use_file(process):
        _report(handover)
    by_root = os.geteuid() == 0
    identity = privileges.resolve(
        process.settings.user if by_root else None, process.settings.group if by_root else None
    )
    process.init()
    try:
        process.handlers.install(
            daemon=process.has_no_terminal
        )  # if ws_init_func has taken them over
        if process.is_daemon:
            daemon.leave_directory()
        process.prepare_limits(identity)
        privileges.drop(identity)
        run(process, identity, handover)
    finally:
        status = process.exit()
    return status


def _wait(process: ServerProcess, handover: Handover) -> Signals | None:
    """Wait for as long as so many crashes, or failures, ask for; return what has ended that."""
    delay = handover.delay()
    if delay > 0:
        line = restart.waiting(delay, handover.restarts)
        if handover.reload is not None and handover.reload.failures:
            line = f"the new code has failed: it is tried again in {delay:.1f} seconds"
        logger.warning("%s", line)
        process.launch.notifier.status(line)
    return process.launch.wait_after_crash(delay)


def _wanted_now(handover: Handover) -> Handover:
    """Return the handover when somebody wants the code, as it is now, to be tried at once."""
    reloads = replace(handover.reloads, attempts=handover.reloads.attempts + 1)
    reload = None if handover.reload is None else handover.reload.again()
    return replace(handover, reload=reload, reloads=reloads)


def _try_again(
    process: ServerProcess, handover: Handover, reload: Reload, error: StartError
) -> int:
    """Have the next image try to start the new code, if nobody has told the server to stop."""
    if process.start_timeout is not None:
        process.start_timeout.over()
    reloads = replace(handover.reloads, state=FAILED, reason=shortened(str(error)))
    failed = replace(handover, reload=reload.failed(), reloads=reloads, signal=None)
    _log(f"the new code can't be started: {error}")
    if process.handlers.stops:
        _dismiss(process, STOPPED)
        return 1
    process.untaken = None
    Replacement(process, lambda: failed, lambda *how: dismiss_carried(failed, *how))
    return 1


def _dismiss(process: ServerProcess, code: int) -> None:
    """Tell clients of the last image to go, if no engine has taken them."""
    untaken, process.untaken = process.untaken, None
    if untaken is not None and untaken.ledger is not None:
        process.steps.begin("the end of the clients", process.settings.stop_timeout, ends=True)
        dismiss_carried(untaken, code, process.settings.stop_timeout)
        process.steps.begin("what is left of the server", SLACK)


def _give_up(process: ServerProcess) -> int:
    """Tell all clients to come again later: the new code has not come to serve in time."""
    _log("the new code has not come to serve in time: the server ends")
    process.keep_record()
    _dismiss(process, START_FAILED)
    return 1


def _report(handover: Handover) -> None:
    """Say in the log what the last image has left of its crash."""
    for line in handover.report():
        _log(line)


def _use_file(process: ServerProcess) -> bool:
    """Have the log go to its file; return whether it does so from now on.

    It may be known only when the server has been loaded, whose code names it.
    """
    path = process.settings.log
    if path is None or path == process.log.path:
        return False
    try:
        process.log.use_file(path)
    except StartError as error:
        _log(str(error))  # and it serves all the same
        return False
    process.log.leave_terminal()
    return True


def _log(line: str) -> None:
    logger.error("%s", line)
