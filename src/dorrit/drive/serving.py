"""Runs a server from its start to its end."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from dorrit.drive.application import Application
from dorrit.drive.checking import look, report
from dorrit.drive.server_process import ServerProcess
from dorrit.drive.start import start
from dorrit.drive.start_again import start_again
from dorrit.errors import StartError, reason_of
from dorrit.logger import log_raised
from dorrit.process.crash import stacks
from dorrit.process.exit import leaving
from dorrit.process.exit.status import status_of
from dorrit.process.running import check_request
from dorrit.raised import EXITS


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
        process = ServerProcess(load, given, made)
    except OSError as error:
        raise StartError(reason_of(error)) from None
    status = 1
    try:
        with process.held, made:
            status = _run(process)
    except BaseException as error:
        status = status_of(error)
        raise
    finally:
        if process.replacement is not None:
            process.replacement.begin()
        else:
            _end(process, status)
    return status


def _end(process: ServerProcess, status: int) -> None:
    """Leave, now that nothing is left of it but the process, and the threads of its code."""
    process.steps.over()
    report_to = process.log.crash_report()
    if not leaving.leave_in_time(process.threads_grace, status, report_to):
        process.handlers.close()


def _check(load: Callable[[], Application], given: Mapping[str, Any], descriptor: int) -> int:
    """Look for mistakes only (`dorrit.process.running.check_request`); return the exit status."""
    found, facts = look(load, given)
    if not found:
        check_request.pass_on(descriptor, facts)
    return report(found)


def _run(process: ServerProcess) -> int:
    """Start it, for the first time or after a crash, and serve; return the exit status."""
    handover = process.launch.handover
    if not process.settings.no_restart:
        process.made.enter_context(stacks.covered_threads())
    try:
        with process.starting():
            return start(process) if handover is None else start_again(process, handover)
    except StartError:
        if handover is not None:
            process.keep_record()
        raise
    except EXITS:
        raise
    except BaseException as error:
        process.keep_record()
        # A daemon's stderr leads nowhere.
        log_raised(logging.CRITICAL, "the server ends, for a reason that it does not know", error)
        raise
