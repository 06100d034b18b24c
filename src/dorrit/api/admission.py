"""Admission: who is let in, by the settings first and then by the open handler."""

from collections.abc import Callable
from typing import Any

from dorrit.api.client_limit import ClientLimit
from dorrit.api.reject import Reject, refusal_of
from dorrit.dispatch.lifecycle import Observer
from dorrit.engine import Connection
from dorrit.engine.results import check_result
from dorrit.protocol.origin import Origins
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, Refusal, origin_refused, refusal
from dorrit.protocol.request import Request
from dorrit.settings import Settings


class Admission:
    """What the settings say about a client that wants in.

    Attributes:
        observers: What has to be told of the end of each connection.
    """

    def __init__(self, settings: Settings) -> None:
        """Take the settings `origin`, `trust` and `max_per_client`."""
        self._trust = settings.trust
        self._origins = Origins(settings.origin) if settings.origin else None
        self._limit = ClientLimit(settings.max_per_client)
        self.observers: tuple[Observer, ...] = (self._limit,) if settings.max_per_client else ()

    def check(self, conn: Connection, request: Request) -> Refusal | None:
        """Return why a client is refused; or None, and it is counted until its connection ends."""
        request.trust(self._trust)
        if self._origins is not None and not self._origins.allows(request.origin, request.host):
            return origin_refused(request.origin, request.host, same=self._origins.accepts_same)
        return self._limit.enter(conn, request.client)

    def readmit(self, conn: Connection, request: Request) -> None:
        """Take a client that an earlier image has admitted: it may stay, and is counted."""
        request.trust(self._trust)
        self._limit.stay(conn, request.client)


def verdict_of(function: Callable[..., Any], conn: Connection) -> Refusal | None:
    """Ask a plain open handler about a client."""
    try:
        return answer_of(function(conn))
    except Reject as reject:
        return refusal_of(reject)


async def async_verdict_of(function: Callable[..., Any], conn: Connection) -> Refusal | None:
    """Ask an `async` open handler about a client."""
    try:
        return answer_of(await function(conn))
    except Reject as reject:
        return refusal_of(reject)


def answer_of(verdict: object) -> Refusal | None:
    """Return what an open handler's result means: False refuses, True and None accept.

    Raises:
        TypeError: It is something else, such as a coroutine that nobody awaits.
    """
    if verdict is False:
        return refusal(*OPEN_CALLBACK_REFUSED)
    if verdict is None or verdict is True:
        return None
    check_result("on_open", verdict)
    if isinstance(verdict, Reject):
        raise TypeError("the open handler returned a Reject: raise it")
    raise TypeError(
        f"the open handler returned a {type(verdict).__name__}: True or None accepts the client, "
        "False refuses it"
    )
