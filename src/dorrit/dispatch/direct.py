"""Direct: calls plain functions, in the turn of the engine that has something for them."""

from collections.abc import Callable
from typing import Any

from dorrit.dispatch.handlers import Handlers, ignore
from dorrit.dispatch.resumption import Resumption
from dorrit.engine import Connection, Recovered
from dorrit.engine.results import check_result
from dorrit.protocol.closing import Dismissal
from dorrit.protocol.request import Request


class Direct:
    """Calls the functions of a server of which none is `async`.

    Attributes:
        message: The message handler itself.
        closed: The close handler itself.
        subscribed: The handler of subscriptions itself.
        resumption: What becomes of connections of an earlier image.
    """

    def __init__(self, handlers: Handlers, resumption: Resumption) -> None:
        """Take the functions."""
        self._handlers = handlers
        self.resumption: Resumption = resumption
        self.message: Callable[..., object] = handlers.message or ignore
        self.closed: Callable[[Connection, int, str], object] = handlers.close or ignore
        self.subscribed: Callable[[Connection, str, Recovered], object] | None = handlers.subscribed

    def opened(self, conn: Connection, _request: Request) -> object:
        """Ask the open handler about a client."""
        return None if self._handlers.open is None else self._handlers.open(conn)

    def resumed(
        self, conn: Connection, state: bytes | None, begun: str | bytes | None
    ) -> Dismissal | None:
        """Ask the resume handler, or the open handler again."""
        dismissal: Dismissal | None = self.resumption.function(conn, state, begun)
        return dismissal

    def start(self) -> None:
        """Run the start handler."""
        _call("on_start", self._handlers.start)

    def stop(self) -> None:
        """Run the stop handler."""
        _call("on_stop", self._handlers.stop)


def _call(name: str, function: Callable[[], Any] | None) -> None:
    if function is not None:
        check_result(name, function())
