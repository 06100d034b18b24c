"""``dorrit serve``: run a server."""

import argparse
from typing import Final

from dorrit.api.find_server import find_server
from dorrit.cli.subcommand import add_command
from dorrit.drive import serving
from dorrit.drive.program import STOPPING
from dorrit.settings import add_arguments, given

DESCRIPTION = """\
Run a server: a Python file, or a module, with a dorrit.Server in it (chat.py:app), or one that
defines five functions.

  ws_init_func()                          once, before it listens
  ws_open_callback(conn, cookie)          a client wants in: return 0 to accept it
  ws_read_callback(conn, binary, data)    a message has come
  ws_close_callback(conn)                 a client has gone
  ws_exit_func()                          once, when the server stops

They may call ws_write_conn, ws_close_conn, ws_set_data, ws_get_data, ws_set_name and
ws_set_periodic of the module dorrit."""

SERVER: Final = (
    "a file that ends with .py, or the dotted name of a module; with :OBJECT after it for the name "
    "of a dorrit.Server there, which may be left out if there is only one"
)
"""For the help of every command that takes one."""

EPILOG = f"""\
{STOPPING}

  dorrit serve chat.py:app -x -l /run/chat/chat.socket -m 50000"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the command line."""
    parser = add_command(
        commands, "serve", run, summary="run a server", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("server", metavar="SERVER", help=SERVER)
    add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Load the server and run it; return the exit status.

    Raises:
        StartError: It can't start.
    """
    options = given(arguments)
    return serving.serve(lambda: find_server(arguments.server), options)
