"""Who is at the other end of a connected UNIX-domain socket: what the kernel says, not the peer."""

import os
import socket
import struct
import sys
from typing import Final

UCRED: Final = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""

SO_PEERPIDFD: Final = 77
"""Linux 6.5 and newer; Python's module socket does not name it."""


def peer_pid(connected: socket.socket) -> int | None:
    """Return the pid of the process at the other end; None where that can't be asked.

    For a client, that is the process that called listen(2) last.

    Raises:
        OSError: It is not connected.
    """
    if sys.platform != "linux":
        return None
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    pid: int = UCRED.unpack(credentials)[0]
    return pid or None  # 0: it is in a namespace that we can't see


def peer_pidfd(connected: socket.socket) -> int | None:
    """Return a descriptor of the process at the other end; see pidfd_open(2).

    It means that very process, and never another one that has its pid later.

    Returns:
        A descriptor that the caller closes; None if the system has none, or the process has ended.
    """
    if sys.platform != "linux":
        return None
    try:
        descriptor = connected.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError:
        return None
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - os's interface
    return descriptor
