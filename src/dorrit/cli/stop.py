"""``dorrit stop``: stop a server, whoever started it."""

import argparse
import sys
import time
from typing import Final

from dorrit.cli.status import NAME
from dorrit.cli.subcommand import add_command
from dorrit.process.running.find import RunningServer, find
from dorrit.process.running.status_client import TIMEOUT as ANSWER
from dorrit.process.running.status_client import NotRunningError

DESCRIPTION = """\
Stop a server and wait until it has ended. It gets SIGTERM, tells its clients, writes what is queued
for them and removes its files. It is left alone unless it is certain that it is the server."""

EPILOG = """\
Exit status: 0 if it has stopped or did not run, 2 for a wrong command line, 4 if it can't be told
whether it runs or if it may not be stopped, 1 if it has not ended in time. It may still end then; a
server that must go can be killed with SIGKILL.

  dorrit stop chat
  dorrit stop /run/chat/chat.socket --timeout 60"""

TIMEOUT: Final = 30.0
"""Seconds; more than a server takes that waits for clients that don't read."""

TIMEOUT_MAX: Final = 86400.0

ANSWER_MIN: Final = 1.0
"""Seconds that a server always has to say that it is the one: a machine may be busy."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the command line."""
    parser = add_command(
        commands,
        "stop",
        run,
        summary="stop a server and wait for its end",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add_arguments(parser)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `dorrit restart` takes as well."""
    parser.add_argument("name", metavar="NAME", help=NAME)
    parser.add_argument(
        "--timeout",
        type=seconds_of,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"how long to wait for its end (default: {TIMEOUT:g})",
    )
    parser.add_argument(
        "--now", action="store_true", help="let it not wait for its clients: SIGTERM again"
    )


def run(arguments: argparse.Namespace) -> int:
    """Stop a server, and say what happened; return the exit status.

    Raises:
        StartError: It may not be stopped, or it can't be told whether it runs.
    """
    started = time.monotonic()
    try:
        server = look_for(arguments)
    except NotRunningError as error:
        sys.stdout.write(f"{error}\n")
        return 0
    with server:
        return 0 if stop(server, arguments, time.monotonic() - started) else 1


def look_for(arguments: argparse.Namespace) -> RunningServer:
    """Find the server; one that hangs leaves time to stop it."""
    return find(arguments.name, timeout=min(ANSWER, max(arguments.timeout / 2, ANSWER_MIN)))


def stop(server: RunningServer, arguments: argparse.Namespace, spent: float) -> bool:
    """Stop a server, and say what happened; return whether it has ended.

    Args:
        server: The server that runs.
        arguments: What the parser of `add_arguments` made.
        spent: Seconds of the timeout that have passed.
    """
    pid = server.process.pid
    if server.stop(max(0.0, arguments.timeout - spent), now=arguments.now):
        sys.stdout.write(f"{arguments.name}: stopped process {pid}\n")
        return True
    sys.stderr.write(
        f"dorrit: {arguments.name}: process {pid} was told to stop and has not ended within "
        f"{arguments.timeout:g} seconds\n"
    )
    return False


def seconds_of(text: str) -> float:
    """Return a number of seconds from the command line."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= TIMEOUT_MAX:
        message = f"{text!r} is not a number of seconds from 0 to {TIMEOUT_MAX:g}"
        raise argparse.ArgumentTypeError(message)
    return seconds
