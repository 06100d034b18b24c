"""The command ``dorrit``: one module for each subcommand."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from dorrit import __version__
from dorrit.cli import check, dev, restart, serve, status, stop
from dorrit.errors import StartError
from dorrit.settings import CommandLine

DESCRIPTION = """\
A WebSocket server that listens on a UNIX-domain socket behind your web server.
You write a few functions; dorrit is the rest."""

EPILOG = """\
Try it:
  dorrit dev examples/echo.py
  dorrit serve examples/echo.py -x -l /tmp/echo.socket

Without -x a server becomes a daemon; then:
  dorrit status echo
  dorrit stop echo

'dorrit COMMAND --help' describes the options of each command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: What follows the command's name; that of the process, if None.

    Returns:
        The exit status: 0, 2 for a wrong command line, 1 for the rest. What went wrong has been
        said on stderr, in one line.
    """
    parser: argparse.ArgumentParser = CommandLine(
        prog="dorrit",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dorrit {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve.add_parser(commands)
    check.add_parser(commands)
    dev.add_parser(commands)
    status.add_parser(commands)
    stop.add_parser(commands)
    restart.add_parser(commands)
    try:
        arguments = parser.parse_args(argv)
        exit_status: int = arguments.func(arguments)
    except StartError as error:
        sys.stderr.write(f"dorrit: {error}\n")
        return error.status
    except KeyboardInterrupt:
        # As a program without a handler ends: a shell then ends the script that has called it, too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        raise
    return exit_status
