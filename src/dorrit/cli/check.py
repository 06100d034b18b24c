"""``dorrit check``: find what a server would stumble over at its start."""

import argparse
import sys

from dorrit.api.find_server import find_server
from dorrit.cli.serve import SERVER
from dorrit.cli.subcommand import add_command
from dorrit.drive import checking
from dorrit.settings import add_arguments, given

DESCRIPTION = """\
Find what 'dorrit serve' would stumble over with these words, and start nothing: mistakes in the
server's file, in its handlers and its settings, users and groups that do not exist. Each is said in
one line, as 'serve' would say it.

The file is executed, as every import does it; what it defines is not called: no handler, no
ws_init_func. No socket and no file is made or looked at, and the user stays who it is. Anybody may
run it, also beside a server that runs. It has no time limit of its own: Ctrl-C ends it."""

EPILOG = """\
Exit status: 0 if nothing was found, 2 if the command line is at fault, 1 for the rest.

  dorrit check chat.py:app -u www-data && dorrit restart chat"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the command line."""
    parser = add_command(
        commands,
        "check",
        run,
        summary="look for mistakes in a server without starting it",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("server", metavar="SERVER", help=SERVER)
    add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Say what is wrong with a server; return the exit status."""
    options = given(arguments)
    found = checking.problems(lambda: find_server(arguments.server), options)
    if not found:
        sys.stdout.write(f"{arguments.server}: ok\n")
    return checking.report(found)
