"""``dorrit restart``: stop a daemon and start it again as it was started."""

import argparse
import subprocess
import sys

from dorrit.cli import stop
from dorrit.errors import StartError
from dorrit.process.control import find, record_of
from dorrit.process.status_client import NotRunningError

DESCRIPTION = """\
Stop a daemon as 'dorrit stop' does, then run the command that started it, in the same directory.
Clients are disconnected. A daemon that has crashed is started as well.

The environment is yours, not the one that the daemon had. You must be who started it: root, if root
did. A server in the foreground (-x) is restarted by whoever started it, for example by systemd."""

EPILOG = """\
Exit status: that of the command; before it runs, that of 'dorrit stop', or 1 if it is not known how
the daemon was started. Then the daemon is not stopped.

  dorrit restart chat"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the command line."""
    parser = commands.add_parser(
        "restart",
        help="stop a daemon and start it again",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stop.add_arguments(parser)
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Restart a daemon; return the exit status.

    Raises:
        StartError: It isn't known how it was started, or it can't be stopped or started.
    """
    record = record_of(arguments.name)  # it goes when the server stops
    try:
        server = find(arguments.name)
    except NotRunningError as error:
        sys.stdout.write(f"{error}\n")
    else:
        with server:
            if not stop.stop(server, arguments):
                return 1
    sys.stdout.flush()
    try:
        # Words, no shell; from a file that only this user can have written.
        ended = subprocess.run(record.command, cwd=record.directory, check=False)  # noqa: S603
    except OSError as error:
        raise StartError(
            f"{arguments.name}: can't run {record.command[0]} in {record.directory}: "
            f"{error.strerror}"
        ) from None
    return ended.returncode if ended.returncode >= 0 else 1
