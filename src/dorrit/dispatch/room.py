"""Room: tasks that wait until there is room in the queue of a connection (`Connection.drain`)."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from dorrit.engine import Connection, Engine


class Room:
    """The tasks that wait, by their connections."""

    def __init__(self, is_opening: Callable[[Connection], bool]) -> None:
        """Begin without a task.

        Args:
            is_opening: Tells whether the current task decides about a client.
        """
        self._is_opening = is_opening
        self._waiting: dict[Connection, list[asyncio.Future[None]]] = {}

    def connect(self, engine: Engine) -> None:
        """Take the engine, which knows when there is room, and calls `again` then."""
        self._engine = engine

    def drain(self, conn: Connection) -> Coroutine[Any, Any, None]:
        """Return what waits until at most half of what may wait for a client does.

        Raises:
            RuntimeError: This is the open handler of the connection.
        """
        # It would wait for itself. Others may wait: what they send is written when it has returned.
        if self._is_opening(conn):
            raise RuntimeError(
                "drain() has nothing to wait for in the open handler: what that sends is written "
                "when it has returned; send the rest from a task that it makes "
                "(asyncio.create_task), or when the first message comes"
            )
        return self._wait(conn)

    async def _wait(self, conn: Connection) -> None:
        if self._engine.has_room(conn):
            return
        room = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(conn, []).append(room)
        self._engine.want_room(conn)
        await room

    def again(self, conn: Connection) -> None:
        """Let the tasks go on that wait for a connection: it has room, or is over."""
        for room in self._waiting.pop(conn, ()):
            if not room.done():
                room.set_result(None)

    ended = again
    """It is an `Observer`."""
