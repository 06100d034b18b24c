"""Resumption: what a server's own code says to connections that an earlier image has left to it."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from dorrit.protocol.closing import CloseCode, Dismissal

CUT_OFF: Final = Dismissal(
    CloseCode.SERVICE_RESTART, "the message under way was cut off", is_told=True
)
"""A message has been begun, and nobody here takes it from there."""


class Resumption(NamedTuple):
    """How connections go on.

    Attributes:
        function: Called as `function(conn, state, begun)`; returns a `Dismissal`, or None: it goes
            on. Plain or `async`.
        callback: What the log calls it: "resume", or "open" if the open handler decides again.
        takes_begun: It knows what to do about a message that has been begun.
    """

    function: Callable[..., Any]
    callback: str
    takes_begun: bool

    def raised(self) -> Dismissal:
        """Return what becomes of a connection if the function raises."""
        return self._end(CloseCode.INTERNAL_ERROR, "")

    def late(self) -> Dismissal:
        """Return what becomes of it if an `async` one does not end in time."""
        return self._end(CloseCode.TRY_AGAIN_LATER, "the server's code has not answered in time")

    def stopping(self) -> Dismissal:
        """Return what becomes of it if the server stops before an `async` one has ended."""
        return self._end(CloseCode.GOING_AWAY, "")

    def _end(self, code: int, reason: str) -> Dismissal:
        # To whom the open handler has not said yes here, the close handler is not called.
        return Dismissal(code, reason, is_told=self.callback == "resume")
