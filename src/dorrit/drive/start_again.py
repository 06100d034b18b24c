"""The start of a server after a crash, in the same process: the last image has left what it had."""

import logging
import os

from dorrit.drive.running import run
from dorrit.drive.server_process import ServerProcess
from dorrit.errors import StartError
from dorrit.process.crash import restart
from dorrit.process.credentials import privileges
from dorrit.process.exec.handover import Handover
from dorrit.process.fork import daemon
from dorrit.process.start.resources import Resources

logger: logging.Logger = logging.getLogger("dorrit")


def start_again(process: ServerProcess, handover: Handover) -> int:
    """Start as the next image after a crash: what the last one had is taken over (R29).

    Returns:
        The exit status, when the server has ended.
    """
    process.is_daemon = handover.daemon
    if process.is_daemon:
        process.log.use_syslog(handover.name)
        process.log.leave_terminal()
        process.log.take_prints()
    _use_file(process)
    try:
        with process.starting():
            return _start(process, handover)
    except StartError as error:
        if process.is_daemon:
            _log(f"the server can't go on after a crash: {error}")
        raise


def _start(process: ServerProcess, handover: Handover) -> int:
    _report(handover)
    process.hold(Resources.adopt(handover, daemon=process.is_daemon))
    if not _wait(process, handover):
        return 0
    process.handlers.install(daemon=process.is_daemon)
    restart.release_signals()
    if not process.settings.no_restart:
        process.arm(handover)  # its start may crash as well
    process.load()
    if _use_file(process):
        _report(handover)
    by_root = os.geteuid() == 0
    identity = privileges.resolve(
        process.settings.user if by_root else None, process.settings.group if by_root else None
    )
    process.init()
    try:
        process.handlers.install(daemon=process.is_daemon)  # if ws_init_func has taken them over
        if process.is_daemon:
            daemon.leave_directory()
        process.prepare_limits(identity)
        privileges.drop(identity)
        run(process, identity, handover)
    finally:
        status = process.exit()
    return status


def _wait(process: ServerProcess, handover: Handover) -> bool:
    """Wait for as long as so many crashes ask for; return whether nobody has told it to stop."""
    delay = handover.delay()
    if delay > 0:
        line = restart.waiting(delay, handover.restarts)
        logger.warning("%s", line)
        process.launch.notifier.status(line)
    if process.launch.wait_after_crash(delay) is not None:
        logger.info("told to stop before the server was started again")
        return False
    return True


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
