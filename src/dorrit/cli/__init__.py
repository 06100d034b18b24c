"""The command ``dorrit``: one module for each subcommand."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from dorrit.errors import StartError, reason_of
from dorrit.process.exec.descriptors import open_standard_streams
from dorrit.settings import CommandLine
from dorrit.version import __version__

DESCRIPTION = """\
A WebSocket server that listens on a UNIX-domain socket behind your web server.
You write a few functions; dorrit is the rest."""

EPILOG = """\
Try it:
  dorrit dev
  dorrit dev chat.py:app
  dorrit serve chat.py:app -x -l /tmp/chat.socket

Without -x a server becomes a daemon; then:
  dorrit status chat
  dorrit stop chat

'dorrit COMMAND --help' describes the options of each command."""

COMMANDS: Final = ("serve", "check", "dev", "status", "stop", "reload", "restart")
"""The subcommands, in the order of the help; each is a module here."""

UNKNOWN = 4
"""LSB, of the status of a program: "program or service status is unknown"."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: What follows the command's name; that of the process, if None.

    Returns:
        The exit status: 0, 2 for a wrong command line, 1 for the rest. What went wrong has been
        said on stderr, in one line.
    """
    words = sys.argv[1:] if argv is None else argv
    first = words[0] if words else ""
    parser: argparse.ArgumentParser = CommandLine(
        prog="dorrit",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dorrit {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # Most of a server's start is imports; the help and its mistakes need all commands.
    for name in (first,) if first in COMMANDS else COMMANDS:
        importlib.import_module(f"dorrit.cli.{name}").add_parser(commands)
    try:
        _open_streams()
        arguments = parser.parse_args(argv)
        exit_status: int = arguments.func(arguments)
        sys.stdout.flush()
    except StartError as error:
        return _fail(str(error), error.status)
    except OSError as error:
        # What the command line's own code has not expected; a server's code is not among it.
        is_control = first in {"status", "stop", "reload"}
        return _fail(reason_of(error), UNKNOWN if is_control else 1)
    except KeyboardInterrupt:
        # As a program without a handler ends: a shell then ends the script that has called it, too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        raise
    return exit_status


def _open_streams() -> None:
    """Have the standard streams be there, whichever of them were closed."""
    open_standard_streams()
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # Python's word for a descriptor that was closed
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - to the end


def _fail(reason: str, status: int) -> int:
    """Say why the command fails, as far as anybody listens; return its exit status."""
    with suppress(OSError, AttributeError):  # AttributeError: there is no stderr
        sys.stderr.write(f"dorrit: {reason}\n")
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:
            # It would be tried again, and reported once more, when the interpreter ends.
            sys.stdout = None  # as for a descriptor that was closed
    return status
