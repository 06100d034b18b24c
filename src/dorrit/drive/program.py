"""A server's file that is a program of its own: ``python FILE -x`` is ``dorrit serve FILE -x``."""

import argparse
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from dorrit.drive import serving
from dorrit.drive.application import Application
from dorrit.drive.choice import is_in_event_loop
from dorrit.errors import StartError
from dorrit.process.exit.status import INTERRUPTED
from dorrit.settings import CommandLine, add_arguments, given

STOPPING: Final = """\
Without -x the command returns when clients can connect. Then 'dorrit status' and 'dorrit stop'
find the server by its name.

SIGTERM, and SIGINT (Ctrl-C) in the foreground, stop the server: clients are told, what is queued is
written, the socket is removed. A second one waits neither for them nor for handlers and threads.
SIGHUP opens a daemon's log anew.

Exit status: 0 after a stop or when the daemon is ready, 2 for a wrong command line, 1 for the
rest."""
"""For the help of every command that runs a server."""


def run(
    name: str,
    load: Callable[[], Application],
    argv: Sequence[str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> int:
    """Run a server whose file is the program.

    Args:
        name: What the program is called in its messages.
        load: Returns the server.
        argv: The options; those of the process, if None.
        defaults: What the code gives as the options' defaults, for the help.

    Returns:
        The exit status. What went wrong has been said on stderr, in one line.

    Raises:
        RuntimeError: It can't run here.
    """
    _check_place()
    parser = CommandLine(
        prog=name,
        description="A WebSocket server on a UNIX-domain socket, made with dorrit.",
        epilog=STOPPING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, defaults=defaults)
    try:
        return serving.serve(load, given(parser.parse_args(argv)))
    except StartError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return error.status
    except KeyboardInterrupt:
        # Not by the signal, which would leave out what the caller does at its end. Whoever has
        # pressed Ctrl-C knows where, so there is no traceback.
        return INTERRUPTED


def _check_place() -> None:
    """Look whether a process's server can run here: it takes the whole thread, and the signals.

    Raises:
        RuntimeError: It can't.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "a server is run in the main thread, which gets the signals; in another one, use "
            "dorrit.listen"
        )
    if is_in_event_loop():
        raise RuntimeError(
            "an event loop of asyncio runs here, which the server would stop: use 'async with "
            "dorrit.listen(path, app)'"
        )
