"""``dorrit reload``: run a server's new code with the same pid, and with all its connections."""

import argparse
import sys
import time
from typing import Final

from dorrit.cli.status import NAME
from dorrit.cli.stop import seconds_of
from dorrit.cli.subcommand import add_command
from dorrit.errors import StartError
from dorrit.process.control.status import Status, with_connections
from dorrit.process.exec.handover import DONE, REFUSED, RELOAD
from dorrit.process.files.paths import status_path
from dorrit.process.running.find import RunningServer, find
from dorrit.process.running.pidfd import INTERVAL
from dorrit.process.running.status_client import StatusError, ask

DESCRIPTION = """\
Have a server run its new code, with the same pid, the same socket and all connections, and wait
until that serves. The server gets SIGUSR2. A child of it looks at the new code first, as
'dorrit check' does; with a mistake the server goes on with the code that it has.

The new code is run with the command line and the environment of the old one, and may have other
settings, but not another name, socket, user or group, nor a supervisor if it has none, or none if
it has one: for these there is 'dorrit restart'."""

EPILOG = """\
Exit status: 0 when the new code serves, 2 for a wrong command line, 3 if the server does not run, 4
if that can't be told or it may not be reloaded, 1 if it goes on with the code that it has, or has
ended, or if the new code does not serve in time: then the server still tries.

  dorrit reload chat
  dorrit reload /run/chat/chat.socket --timeout 120"""

TIMEOUT: Final = 60.0
"""Seconds; handlers that run have some of them, and so have the stop handler and ws_exit_func."""

ANSWER: Final = 1.0
"""Seconds for each answer of a server that may have none just now."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the command line."""
    parser = add_command(
        commands,
        "reload",
        run,
        summary="run a server's new code, with all its connections",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("name", metavar="NAME", help=NAME)
    parser.add_argument(
        "--timeout",
        type=seconds_of,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"how long to wait for the new code (default: {TIMEOUT:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Reload a server, and say what happened; return the exit status.

    Raises:
        StartError: It does not run, may not be reloaded, or it can't be told what it does.
    """
    end = time.monotonic() + arguments.timeout
    with find(arguments.name) as server:
        before = _reloadable(arguments.name, server)
        server.ask_for_reload()
        return _wait(arguments, server, before, end)


def _reloadable(name: str, server: RunningServer) -> Status:
    """Return the status of a server that knows what SIGUSR2 means; another one would end by it.

    Raises:
        StartError: It does not, or that can't be told.
    """
    status = server.status
    if status is None:
        raise StartError(f"{name}: not reloaded: {server.silence}", status=4)
    if status.reload_attempts is None:
        raise StartError(
            f"{name}: not reloaded: it is run by dorrit {status.version}, which can't: use 'dorrit "
            "restart'"
        )
    return status


def _wait(arguments: argparse.Namespace, server: RunningServer, before: Status, end: float) -> int:
    """Wait for what comes of it; return the exit status."""
    name, pid = arguments.name, server.process.pid
    while (left := end - time.monotonic()) > 0:
        now = _ask(before.socket, min(ANSWER, left))
        if server.process.wait(0):
            return _fail(f"{name}: process {pid} has ended")
        if now is not None and (now.reload_attempts or 0) > (before.reload_attempts or 0):
            if now.reload_state == REFUSED:
                return _fail(f"{name}: not reloaded: {now.reload_reason}")
            if now.reload_state == DONE:
                sys.stdout.write(f"{name}: {described(now)}\n")
                return 0
        server.process.wait(INTERVAL)
    return _fail(
        f"{name}: process {pid} was told to reload, and the new code does not serve after "
        f"{arguments.timeout:g} seconds; its log says more"
    )


def _fail(reason: str) -> int:
    sys.stderr.write(f"dorrit: {reason}\n")
    return 1


def _ask(path: str, timeout: float) -> Status | None:
    """Return the server's status; None: it can't say just now."""
    try:
        status, process = ask(status_path(path), timeout)
    except StatusError:
        return None  # it starts, or has ended
    process.close()
    return status


def described(status: Status) -> str:
    """Return in words what the last reload has done."""
    if status.last_restart != RELOAD:
        return "reloaded"  # and the new code has crashed since, which tells of other numbers
    return f"reloaded {with_connections(status.carried, status.carried_in, status.lost)}"
