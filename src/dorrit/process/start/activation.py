"""A listening socket that a service manager has made and hands over: sd_listen_fds(3)."""

import os
import socket
import stat
from collections.abc import MutableMapping
from typing import Final

from dorrit.errors import StartError

FIRST_DESCRIPTOR: Final = 3
"""SD_LISTEN_FDS_START: the first descriptor that is handed over."""

VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")

DIGITS_MAX: Final = 9
"""Of a number of descriptors."""


def activated_socket(environment: MutableMapping[str, str] | None = None) -> int | None:
    """Return the descriptor of the listening socket that a service manager has handed over.

    The socket is used as it is, and so is its name in the file system: both belong to the manager,
    who keeps them when the server stops. The descriptor does not block from now on and is closed on
    exec. The variables are taken out of the environment, so that no child inherits them; the next
    image of a server that has crashed calls `forget` instead.

    Args:
        environment: That of the process, if None.

    Returns:
        The descriptor; None if none is meant for this process.

    Raises:
        StartError: What was handed over is not exactly one listening UNIX-domain stream socket.
    """
    if environment is None:
        environment = os.environ
    count, names = environment.get("LISTEN_FDS", ""), environment.get("LISTEN_FDNAMES", "")
    # "If the environment variable LISTEN_PID is not set to the PID of the calling process", they
    # are somebody else's, who did not take them out of the environment.
    ours = environment.get("LISTEN_PID") == str(os.getpid())
    forget(environment)
    if not ours or not count:
        return None
    if not (count.isascii() and count.isdigit()) or len(count) > DIGITS_MAX:
        raise StartError(f"LISTEN_FDS={ascii(count)[:50]} is not a number of descriptors")
    if int(count) == 0:
        return None
    if int(count) != 1:
        called = f" ({ascii(names)[1:-1][:200]})" if names else ""
        raise StartError(
            f"the service manager hands over {count} sockets{called}: a server listens on one; "
            "leave one ListenStream= in the socket unit"
        )
    _check(FIRST_DESCRIPTOR)
    os.set_inheritable(FIRST_DESCRIPTOR, False)
    os.set_blocking(FIRST_DESCRIPTOR, False)
    return FIRST_DESCRIPTOR


def forget(environment: MutableMapping[str, str] | None = None) -> None:
    """Take the manager's variables out of the environment.

    Args:
        environment: That of the process, if None.
    """
    for name in VARIABLES:
        (os.environ if environment is None else environment).pop(name, None)


def path_of(descriptor: int) -> str:
    """Return the path that a UNIX-domain socket has been bound to.

    Returns:
        The path; an abstract name begins with ``@``.

    Raises:
        OSError: It is not a socket.
    """
    with socket.socket(fileno=os.dup(descriptor)) as found:
        name = found.getsockname()
    if isinstance(name, bytes):  # what begins with NUL
        return "@" + os.fsdecode(name[1:])
    return str(name)


def _check(descriptor: int) -> None:
    """Raise a StartError unless it is a listening UNIX-domain stream socket."""
    handed = f"the service manager hands over descriptor {descriptor}, which"
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise StartError(f"{handed} is not a socket")
        with socket.socket(fileno=os.dup(descriptor)) as found:
            family, kind = found.family, found.type
            listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise StartError(f"{handed} can't be used: {error.strerror}") from None
    if family != socket.AF_UNIX:
        raise StartError(f"{handed} is not a UNIX-domain socket: ListenStream= must be a path")
    if kind != socket.SOCK_STREAM:
        raise StartError(f"{handed} is not a stream socket: use ListenStream= in the socket unit")
    if not listens:
        raise StartError(f"{handed} does not listen: the socket unit needs Accept=no")
