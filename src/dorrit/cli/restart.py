"""``dorrit restart``: stop a daemon and start it again as it was started."""

import argparse
import subprocess
import sys
import time

from dorrit.cli import stop
from dorrit.cli.subcommand import add_command
from dorrit.errors import StartError
from dorrit.process.files.command_file import Record, RecordFile, put_back
from dorrit.process.running import check_request
from dorrit.process.running.find import record_of
from dorrit.process.running.status_client import NotRunningError

DESCRIPTION = """\
Look for mistakes in what the server is now, as 'dorrit check' does; then stop it as 'dorrit stop'
does, and run the command that started it, in the same directory. With a mistake, or if the look
itself fails, the server that runs goes on. Clients are disconnected.

A daemon that was killed, or that could not be started again, is started as well, after the mistake
has been mended: its command is kept until it has been stopped, or until the machine is restarted.

The environment is yours, not the one that the daemon had. You must be who started it: root, if root
did. A server in the foreground (-x) is restarted by whoever started it, for example by systemd."""

EPILOG = """\
Exit status: that of the command; before it runs, that of 'dorrit stop', or 1 if a mistake was found
or it is not known how the daemon was started. Then the daemon is not stopped.

  dorrit restart chat"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the command line."""
    parser = add_command(
        commands,
        "restart",
        run,
        summary="stop a daemon and start it again",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    stop.add_arguments(parser)
    parser.add_argument(
        "--no-check",
        action="store_true",
        help="stop it without looking for mistakes first, for a file that can't be loaded beside "
        "the server that runs",
    )


def run(arguments: argparse.Namespace) -> int:
    """Restart a daemon; return the exit status.

    Raises:
        StartError: It isn't known how it was started, or it can't be stopped or started.
    """
    name = arguments.name
    path, record = record_of(name)
    started = time.monotonic()
    try:
        server = stop.look_for(arguments)
    except NotRunningError as error:
        sys.stdout.write(f"{error}\n")
    else:
        with server:
            spent = time.monotonic() - started
            if not arguments.no_check and not _passes(name, record):
                sys.stderr.write(
                    f"dorrit: {name}: not restarted: process {server.process.pid} goes on\n"
                )
                return 1
            # A copy, which the server does not take for its own, and so does not remove at its end.
            RecordFile(path, record)
            if not stop.stop(server, arguments, spent):
                return 1
    sys.stdout.flush()
    status = 1
    try:
        status = _start(name, record)
    finally:
        if status != 0:
            put_back(path, record)  # a start that fails removes it
    return status


def _passes(name: str, record: Record) -> bool:
    """Tell whether the server could be started as its files are now; what is wrong is printed."""
    sys.stdout.flush()
    try:
        return check_request.passes(record)
    except OSError as error:
        raise _not_run(name, record, error) from None


def _start(name: str, record: Record) -> int:
    """Run the command to its end; return its exit status."""
    try:
        # Words, no shell; from a file that only this user can have written.
        started = subprocess.Popen(record.command, cwd=record.directory)
    except OSError as error:
        raise _not_run(name, record, error) from None
    with started:
        while True:
            try:
                ended = started.wait()
            except KeyboardInterrupt:
                continue  # the terminal has sent it to the command as well, which ends in order
            return ended if ended >= 0 else 1


def _not_run(name: str, record: Record, error: OSError) -> StartError:
    program, directory = record.command[0], record.directory
    return StartError(f"{name}: can't run {program} in {directory}: {error.strerror}")
