"""``dorrit serve``: run a server."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dorrit.api import loader, procedural, serving
from dorrit.errors import StartError
from dorrit.settings import add_arguments, settings_of

DESCRIPTION = """\
Run a server: a Python file, or a module, that defines five functions.

  ws_init_func()                          once, before it listens
  ws_open_callback(conn, cookie)          a client wants in: return 0 to accept it
  ws_read_callback(conn, binary, data)    a message has come
  ws_close_callback(conn)                 a client has gone
  ws_exit_func()                          once, when the server stops

They may call ws_write_conn, ws_close_conn, ws_set_data, ws_get_data, ws_set_name and
ws_set_periodic of the module dorrit."""

EPILOG = """\
SIGTERM, and SIGINT (Ctrl-C) in the foreground, stop the server: clients are told, what is queued is
written, the socket is removed. A second one does not wait for the clients.

Exit status: 0 after a stop, 2 for a wrong command line, 1 for everything else.

  dorrit serve chat.py -x -l /run/chat/chat.socket -m 50000"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the command line."""
    parser = commands.add_parser(
        "serve",
        help="run a server",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "server", metavar="SERVER", help="a file that ends with .py, or the dotted name of a module"
    )
    add_arguments(parser)
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Load the server and run it; return the exit status."""
    settings = settings_of(arguments)
    procedural.set_config_file(settings.config_file)
    module = loader.load(arguments.server)
    program = procedural.program_of(vars(module), arguments.server)
    return serving.serve(program, settings)


def main_of(
    name: str, namespace: Mapping[str, object], argv: Sequence[str] | None = None
) -> int:
    """Run the server whose globals are `namespace`, as the program `name`; return the exit status."""
    parser = argparse.ArgumentParser(
        prog=name,
        description="A WebSocket server on a UNIX-domain socket, made with dorrit.",
        epilog=EPILOG[: EPILOG.index("\n\n  dorrit")],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    settings: Any = settings_of(parser.parse_args(argv))
    try:
        return serving.serve(procedural.program_of(namespace, name), settings)
    except StartError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return error.status
