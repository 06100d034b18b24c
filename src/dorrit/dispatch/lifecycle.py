"""Lifecycle: what begins and ends with a connection, around whatever a dispatcher does with it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from dorrit.dispatch.dispatcher import Events
from dorrit.dispatch.resumption import CUT_OFF
from dorrit.engine import PENDING, Connection, Recovered
from dorrit.engine.reports import Reports
from dorrit.protocol.closing import Dismissal
from dorrit.protocol.refusal import Refusal
from dorrit.protocol.request import Request
from dorrit.raised import is_exit


class Admission(Protocol):
    """What decides about a client before the server's own functions do."""

    @property
    def observers(self) -> Sequence["Observer"]:
        """What has to be told of the end of each connection."""
        ...

    def check(self, conn: Connection, request: Request) -> Refusal | None:
        """Return why a client is refused, or None."""
        ...

    def readmit(self, conn: Connection, request: Request) -> None:
        """Take a client that an earlier image has admitted: it may stay."""
        ...


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
        subscribed: What it is to call when a subscription stands; None: nothing.
    """

    def __init__(
        self,
        dispatcher: Events,
        admission: Admission,
        observers: Sequence[Observer],
        reports: Reports,
    ) -> None:
        """Take what decides about clients.

        Args:
            dispatcher: Is asked about clients that are admitted.
            admission: Says why a client is refused, whatever the server's own functions say.
            observers: Are told of the end of each connection, after those of the admission.
            reports: Takes what an open handler raises that decides again.
        """
        self._dispatcher = dispatcher
        self._admission = admission
        self._reports = reports
        self.observers: Sequence[Observer] = (*admission.observers, *observers)
        # With nobody to tell, the close handler is called without a detour.
        self.closed: Callable[[Connection, int, str], object] = (
            self._closed if self.observers else dispatcher.closed
        )
        self.subscribed: Callable[[Connection, str, Recovered], object] | None = (
            dispatcher.subscribed
        )

    def opened(self, conn: Connection, request: Request) -> object:
        """Decide about a client: return a `Refusal`, None to accept it, or `PENDING`."""
        answer: object = self._admission.check(conn, request)
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

    def resumed(
        self, conn: Connection, request: Request, state: bytes | None, begun: str | bytes | None
    ) -> object:
        """Take a connection that an earlier image of the process has left to this one.

        Args:
            conn: The connection.
            request: Its request.
            state: What was kept with it, if anything was.
            begun: The message whose handler was cut off, if one was.

        Returns:
            A `Dismissal`, None: it goes on, or `PENDING`.
        """
        self._admission.readmit(conn, request)
        resumption = self._dispatcher.resumption
        if begun is not None and not resumption.takes_begun:
            return CUT_OFF
        answer: object
        try:
            answer = self._dispatcher.resumed(conn, state, begun)
        except BaseException as error:
            dismissal = resumption.raised()
            if dismissal.is_told or is_exit(error):
                raise  # the engine has it logged, and the close handler called
            self._reports.callback_raised(resumption.callback, error, conn)
            answer = dismissal
        if answer is not PENDING:
            self.resume_answered(conn, answer)
        return answer

    def resume_answered(self, conn: Connection, answer: object) -> None:
        """Take the decision about a connection that was left to this image."""
        if isinstance(answer, Dismissal) and not answer.is_told:
            self._end(conn)

    def _closed(self, conn: Connection, code: int, reason: str) -> object:
        self._end(conn)
        return self._dispatcher.closed(conn, code, reason)

    def _end(self, conn: Connection) -> None:
        for observer in self.observers:
            observer.ended(conn)
