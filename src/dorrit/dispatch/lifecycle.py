"""Lifecycle: what begins and ends with a connection, around whatever a dispatcher does with it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from dorrit.dispatch.dispatcher import Events
from dorrit.engine import PENDING, Connection
from dorrit.protocol.refusal import Refusal
from dorrit.protocol.request import Request


class Observer(Protocol):
    """Keeps something for connections, and lets go of it when they end."""

    def ended(self, conn: Connection) -> None:
        """Let go of what is kept for a connection.

        It is called once for each connection that was asked about: when it is refused, whether or
        not anything was kept for it, or before its close handler.
        """
        ...


class Lifecycle:
    """Tells observers of the end of each connection, and asks for admission before a dispatcher.

    Attributes:
        observers: What is told, in this order.
        closed: What the engine is to call at the end of a connection that was accepted.
    """

    def __init__(
        self,
        dispatcher: Events,
        admit: Callable[[Connection, Request], Refusal | None],
        observers: Sequence[Observer],
    ) -> None:
        """Take what decides about clients.

        Args:
            dispatcher: Is asked about clients that are admitted.
            admit: Returns why a client is refused, whatever the server's own functions say.
            observers: Are told of the end of each connection, in this order.
        """
        self._dispatcher = dispatcher
        self._admit = admit
        self.observers: Sequence[Observer] = observers
        # With nobody to tell, the close handler is called without a detour.
        self.closed: Callable[[Connection, int, str], object] = (
            self._closed if observers else dispatcher.closed
        )

    def opened(self, conn: Connection, request: Request) -> object:
        """Decide about a client: return a `Refusal`, None to accept it, or `PENDING`."""
        answer: object = self._admit(conn, request)
        if answer is None:
            try:
                answer = self._dispatcher.opened(conn, request)
            except BaseException:
                self._end(conn)
                raise
        if answer is not None and answer is not PENDING:
            self._end(conn)
        return answer

    def answered(self, conn: Connection, answer: Refusal | None) -> None:
        """Take the decision about a client for which `PENDING` was returned."""
        if answer is not None:
            self._end(conn)

    def _closed(self, conn: Connection, code: int, reason: str) -> object:
        self._end(conn)
        return self._dispatcher.closed(conn, code, reason)

    def _end(self, conn: Connection) -> None:
        for observer in self.observers:
            observer.ended(conn)
