"""``dorrit status``: say how a server is."""

import argparse
import sys
import time
from datetime import datetime
from typing import Final

from dorrit.cli.subcommand import add_command
from dorrit.process.control.status import Status, restarted
from dorrit.process.exec.handover import DONE
from dorrit.process.running.find import find
from dorrit.process.running.status_client import NoAnswerError, NotRunningError

DESCRIPTION = """\
Say how a server is: its process, user, group and socket, since when it runs, how many connections
it has, how often it was restarted after a crash or reloaded, with how many connections the last
time and how long that took, and what has come of reloads. Only the server's user and root may
ask."""

EPILOG = """\
Exit status: 0 if it runs, 1 if it has ended and left its files, 2 for a wrong command line, 3 if it
does not run, 4 if that can't be told, for example for want of permission, 150 if it runs but gives
no answer within 5 seconds: it hangs, or was stopped by a signal.

  dorrit status chat
  dorrit status /run/chat/chat.socket"""

NAME: Final = "the server's name, or the absolute path of its socket"

DEAD: Final = 1
"""LSB: "program is dead and /var/run pid file exists"."""

HANGS: Final = 150
"""LSB: "150-199 reserved for application use"."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the command line."""
    parser = add_command(
        commands,
        "status",
        run,
        summary="say how a server is",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("name", metavar="NAME", help=NAME)


def run(arguments: argparse.Namespace) -> int:
    """Print the status of a server that runs, or that it doesn't; return the exit status.

    Raises:
        StartError: It can't be told.
    """
    try:
        server = find(arguments.name)
    except NotRunningError as error:
        sys.stdout.write(f"{error}\n")
        return DEAD if error.is_left else error.status
    except NoAnswerError as error:
        sys.stdout.write(f"{error}\n")
        return HANGS
    with server:
        sys.stdout.write(f"{arguments.name}: running as process {server.process.pid}\n")
        if server.status is None:
            sys.stdout.write(f"{arguments.name}: no more is known: {server.silence}\n")
        else:
            sys.stdout.write(_described(server.status, time.time()))
    return HANGS if server.hangs else 0


def _described(status: Status, now: float) -> str:
    since = datetime.fromtimestamp(status.started).astimezone()
    rows = {
        "name": status.name,
        "user": status.user,
        "group": status.group,
        "socket": status.socket,
        "up": f"{_duration(now - status.started)}, since {since:%Y-%m-%d %H:%M:%S}",
        "connections": _connections(status),
        "crashes": status.restarts,
    }
    if status.reload_attempts:
        rows["reloads"] = _reloads(status)
    if status.last_restart:
        rows["restarted"] = restarted(
            status.last_restart, status.carried, status.carried_in, status.lost
        )
    rows["version"] = status.version
    return "".join(f"{row:<11} {value}\n" for row, value in rows.items())


def _reloads(status: Status) -> str:
    """Return how often it was reloaded, and what has come of the last attempt."""
    if status.reload_state == DONE:
        return f"{status.reloads}"
    why = f": {status.reload_reason}" if status.reload_reason else ""
    return f"{status.reloads}; the attempt since then: {status.reload_state}{why}"


def _connections(status: Status) -> str:
    """Return how many there are, and what a crash would do to some of them."""
    if not status.unrecorded:
        return f"{status.connections}"
    which = "all" if status.unrecorded >= status.connections else f"{status.unrecorded}"
    return f"{status.connections}, {which} of which a crash would end"


def _duration(seconds: float) -> str:
    """Return a time as days, hours, minutes and seconds."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour}:{minute:02}:{second:02}"
    return f"{days} {'day' if days == 1 else 'days'} {clock}" if days else clock
