"""Who is at the other end of a connected UNIX-domain socket: what the kernel says, not the peer."""

import errno
import os
import socket
import struct
import sys
from typing import Final

UCRED: Final = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""

SO_PEERPIDFD: Final = 77
"""Linux 6.5 and newer; Python's module socket does not name it."""


def peer_credentials(connected: socket.socket) -> tuple[int, int] | None:
    """Return the pid and the user of the process at the other end; None where that can't be asked.

    For a client, that is the process that called listen(2) last, as who it was then. It may have
    ended, and the number be another's by now: `peer_pidfd` is the process itself.

    Returns:
        The pid is 0 if the process is in a PID namespace that can't be seen from here.

    Raises:
        OSError: It is not connected.
    """
    if sys.platform != "linux":
        return None
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    pid, uid, _gid = UCRED.unpack(credentials)
    return pid, uid


def peer_pidfd(connected: socket.socket) -> int | None:
    """Return a descriptor of the process at the other end; see pidfd_open(2).

    It means that very process, and never another one that has its pid later.

    Returns:
        A descriptor that the caller closes; None if the system has none. It may be of a process
        that has ended.

    Raises:
        ProcessLookupError: The process has ended, and the system (before Linux 6.16) has no
            descriptor of such a one.
    """
    if sys.platform != "linux":
        return None
    try:
        descriptor = connected.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError as error:
        if error.errno in {errno.ESRCH, errno.EINVAL}:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
        return None
    os.set_inheritable(descriptor, False)
    return descriptor
