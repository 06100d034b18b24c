"""Who is at the other end of a connection's socket."""

from typing import NamedTuple


class Peer(NamedTuple):
    """The process that has connected to the server's socket, as the kernel says: the web server.

    It is what it was when it connected, whatever has become of it since.

    Attributes:
        pid: The number of the process; None where the system does not tell.
        uid: The number of its user.
        gid: The number of its group.
    """

    pid: int | None
    uid: int
    gid: int
