"""The functions of a server that are called when something happens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Handlers:
    """The functions of a server that it has, plain or `async`.

    Attributes:
        start: Called as `start()` before the first client is taken.
        stop: Called as `stop()` when the last one has gone.
        open: Called as `open(conn)`. The user's own refuses by returning False or raising a
            `Reject`; a dispatcher is given one that returns a `Refusal`, or None to accept.
        message: Called as `message(conn, message)`, or `message(conn, binary, payload)` if the
            application is not `text_as_str`.
        close: Called as `close(conn, code, reason)`.
        resume: Called as `resume(conn, state)`, or `resume(conn, state, begun)` if it takes that,
            for each connection that an earlier image of the process has left to this one.
        subscribed: Called as `subscribed(conn, topic, recovered)` when a subscription stands.
    """

    start: Callable[..., Any] | None = None
    stop: Callable[..., Any] | None = None
    open: Callable[..., Any] | None = None
    message: Callable[..., Any] | None = None
    close: Callable[..., Any] | None = None
    resume: Callable[..., Any] | None = None
    subscribed: Callable[..., Any] | None = None


def ignore(*_arguments: object) -> None:
    """Do nothing: the server does not want to hear of it."""
