"""``dorrit dev``: try a server without a web server."""

import argparse
import os
from pathlib import Path

from dorrit.cli.serve import SERVER
from dorrit.cli.subcommand import add_command
from dorrit.settings import add_arguments, given, options_of

DESCRIPTION = """\
Run a server on a socket in a private temporary directory, with a small HTTP front on 127.0.0.1
that serves a test page and passes upgrades on to it. Restart it when its source changes. It runs
as the current user, even if that is root, unless -u or -g name another.

For development only: it is not made for the public, and listens on 127.0.0.1 alone."""

EPILOG = """\
Ctrl-C stops both. Exit status: 0 after a stop, 2 for a wrong command line, 1 if the port cannot be
had, the server's own if it could not be started.

  dorrit dev
  dorrit dev chat.py:app --port 9000 --static public"""

OWN = ("listen", "foreground")
"""The settings of `dorrit serve` that are decided here; the others are passed on."""

MAX_PORT = 65535


def _port(text: str) -> int:
    """Return a port from the command line."""
    if text.isascii() and text.isdigit() and int(text) <= MAX_PORT:
        return int(text)
    message = f"not a port (0 to {MAX_PORT}): {text!r}"
    raise argparse.ArgumentTypeError(message)


def _directory(text: str) -> Path:
    """Return an existing directory from the command line."""
    path = Path(text)
    if path.is_dir():
        return path
    message = f"not a directory: {text!r}"
    raise argparse.ArgumentTypeError(message)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the command line."""
    parser = add_command(
        commands,
        "dev",
        run,
        summary="try a server without a web server, for development only",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument(
        "server",
        metavar="SERVER",
        nargs="?",
        help=f"{SERVER}; without it a server runs that sends every message back",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8080,
        metavar="N",
        help="TCP port on 127.0.0.1, 0 for any free one (default: 8080)",
    )
    parser.add_argument(
        "--static",
        type=_directory,
        metavar="DIR",
        help="serve this directory instead of the test page; symbolic links in it are followed",
    )
    add_arguments(parser, leave_out=OWN)


def _passed_on(arguments: argparse.Namespace) -> list[str]:
    """Return the settings of the server as options of ``dorrit serve``."""
    own = {"user": os.geteuid(), "group": os.getegid()}  # the developer's files are to be read
    settings = given(arguments)
    if "allow_peer" in settings:
        # The front stands where the web server will, and runs as the developer.
        settings["allow_peer"] = (*settings["allow_peer"], str(os.geteuid()))
    return options_of(own | settings)


def run(arguments: argparse.Namespace) -> int:
    """Run the server until it is interrupted.

    Args:
        arguments: What the parser of ``add_parser`` made.

    Returns:
        The exit status.
    """
    # Here, so that `dorrit serve` does not load an HTTP server that it has no use for.
    from dorrit.dev import ECHO
    from dorrit.dev import run as run_server

    told = given(arguments)
    config_file = told.get("config_file")
    return run_server(
        arguments.server or os.fspath(ECHO),
        port=arguments.port,
        static=arguments.static,
        config_file=Path(config_file) if config_file else None,
        options=_passed_on(arguments),
        told=told,
    )
