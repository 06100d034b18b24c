"""Where the files of a server are: by its name, or beside its listening socket (R24, R25)."""

import os
import sys
from pathlib import Path
from typing import Final

from dorrit.errors import StartError

DIRECTORY: Final = "/var/run"

UNNAMED: Final = ("server", "dorrit")
"""R13: "Unset, the name is `server`"; R25: the socket then is ``/var/run/dorrit.socket``."""

PATH_MAX: Final = 107 if sys.platform == "linux" else 103
"""Bytes of the longest path: what sun_path of unix(7) or unix(4) holds, without its NUL."""

SOCKET_SUFFIX: Final = ".socket"
STATUS_SUFFIX: Final = ".status"
COMMAND_SUFFIX: Final = ".command"

LOCK_SUFFIX: Final = ".lock"
"""What the name of the file of the socket's lock ends with."""


LISTEN_ADVICE: Final = "; choose a shorter path with -l"


def socket_path(name: str | None, directory: str = DIRECTORY) -> str:
    """Return the path of the socket of a server for which no other is named (R25).

    Args:
        name: What the server has called itself, or None.
        directory: Where it is.
    """
    return os.fspath(Path(directory) / f"{name or UNNAMED[1]}{SOCKET_SUFFIX}")


def status_path(listening: str) -> str:
    """Return the path of the status socket that belongs to a listening socket.

    ``.status`` takes the place of ``.socket``; where a path does not end so, it is added.
    """
    return listening.removesuffix(SOCKET_SUFFIX) + STATUS_SUFFIX


def pid_path(name: str, directory: str | os.PathLike[str] = DIRECTORY) -> str:
    """Return where the pid file of a server is."""
    return os.fspath(Path(directory) / f"{name}.pid")


def command_path(name: str, directory: str | os.PathLike[str]) -> str:
    """Return where the command of a server with a pid file is: beside that."""
    return os.fspath(Path(directory) / (name + COMMAND_SUFFIX))


def command_path_beside(listening: str) -> str:
    """Return where the command of a server without a pid file is: beside its listening socket."""
    return listening.removesuffix(SOCKET_SUFFIX) + COMMAND_SUFFIX


def check_length(path: str, advice: str = "") -> None:
    """Refuse a path that no socket can have.

    Args:
        path: Of the socket.
        advice: What can be done about it; ends the message.

    Raises:
        StartError: It is too long.
    """
    length = len(os.fsencode(path))
    if length > PATH_MAX:
        raise StartError(
            f"{path}: too long for a UNIX-domain socket: {length} bytes, where at most {PATH_MAX} "
            f"are possible{advice}"
        )
