"""What Python sees of `dorrit.engine.broadcast`."""

from collections.abc import Iterable
from typing import Literal, overload

from typing_extensions import Buffer

from dorrit.engine.connection import Connection

# A text may be str or UTF-8; a binary message is made of bytes. Where the type of `binary` does not
# tell which it is, only bytes are sure to be right.
@overload
def queue_message(
    conns: Connection | Iterable[Connection], binary: Literal[False, 0], data: str | Buffer
) -> Literal[0, -1, -2]: ...
@overload
def queue_message(
    conns: Connection | Iterable[Connection], binary: int, data: Buffer
) -> Literal[0, -1, -2]:
    """Frame a message once and queue it for one connection or for many.

    Nothing is written here: that happens later in the loop's turn. A connection that is closed
    is passed over; one whose queue has no room for the whole message does not get it (see
    `Connection.dropped`).

    Args:
        conns: A connection, or an iterable of connections.
        binary: True for a binary message, false for text.
        data: `bytes` or another object with bytes in it, which may be changed afterwards; for text
            also `str`. Bytes of a text must be UTF-8.

    Returns:
        0; -1 when memory ran out; -2 when `data` is empty.

    Raises:
        TypeError: `conns` or `data` is of another type.
        ValueError: The bytes of a text are not UTF-8.
    """

def broadcast(conns: Iterable[Connection], message: str | Buffer) -> int:
    """Frame a message once and queue it for many connections.

    Connections that are closed, or whose queue has no room for all of it, are passed over.

    Args:
        conns: An iterable of connections.
        message: `str` for a text, `bytes` or another object with bytes in it for a binary message.

    Returns:
        How many connections have it in their queue.

    Raises:
        TypeError: `conns` or `message` is of another type.
        ValueError: No queue ever has room for it. Clients for which it is compressed to less have
            it all the same.
        MemoryError: There was no memory for it, for some connections at least.
    """
