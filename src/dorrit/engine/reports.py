"""What the engine has to say, as log records: at a bounded rate, and safe to print.

Clients decide how often most of these things happen, and a log that they can fill is a fault.
"""

import errno
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from dorrit.engine.callback_names import HANDLERS, CallbackNames
from dorrit.engine.connection import Connection, client_of, seconds_open
from dorrit.logger import log_raised, logger
from dorrit.protocol.display import printable
from dorrit.raised import name_of

BURST: Final = 10
"""Records of one kind that are written within `PERIOD`."""

PERIOD: Final = 10.0
"""Seconds."""


_AWAITED: Final = re.compile(
    r"^object (bool|int|NoneType) can't be used in 'await' expression|"
    r"^'(bool|int|NoneType)' object can't be awaited"
)
"""What Python says, until 3.13 and since."""


class Refused(Protocol):
    """A refused handshake, as `dorrit.protocol.refusal.Refusal` describes it."""

    status: int
    reason: str
    hint: str


class Allowance:
    """Lets `BURST` records pass in each `PERIOD` and counts the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with a full allowance; `clock` returns seconds."""
        self._clock = clock
        self._period_ends = 0.0
        self._used = 0
        self._withheld = 0

    def take(self) -> str | None:
        """Return None if the record must not be written, else what to add to it."""
        now = self._clock()
        if now >= self._period_ends:
            self._period_ends = now + PERIOD
            self._used = 0
        if self._used >= BURST:
            self._withheld += 1
            return None
        self._used += 1
        withheld, self._withheld = self._withheld, 0
        return f" ({withheld} more like this were not logged)" if withheld else ""


class Reports:
    """Writes the engine's log records under the logger's name ``dorrit``."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        access_log: bool = False,
        names: CallbackNames = HANDLERS,
    ) -> None:
        """Start with a full allowance for each kind of record.

        Args:
            clock: Returns seconds.
            access_log: Each client that is refused, or whose connection ends, has a record.
            names: What the user calls the callbacks.
        """
        self._clock = clock
        self._names = names
        self._allowances: dict[str, Allowance] = {}
        self.access_log: bool = access_log

    def _write(
        self,
        kind: str,
        level: int,
        text: str,
        error: BaseException | None = None,
        connection: Connection | None = None,
    ) -> None:
        allowance = self._allowances.get(kind)
        if allowance is None:
            allowance = self._allowances[kind] = Allowance(self._clock)
        addition = allowance.take()
        if addition is None:
            return
        about = {} if connection is None else client_of(connection)
        whose = f" ({_described(about)})" if about else ""
        _log(level, f"{text}{whose}{addition}", error, about)

    def _access(self, connection: Connection, text: str, **more: object) -> None:
        about = client_of(connection) | more
        logger.info("%s: %s", _described(about), text, extra={"about": about})

    def ended(self, connection: Connection, code: int) -> None:
        """Report the end of a connection that was accepted, for the log of who came and went."""
        seconds = seconds_open(connection)
        self._access(connection, f"closed, {code}, after {seconds} s", code=code, seconds=seconds)

    def refused(self, answer: Refused, connection: Connection | None = None) -> None:
        """Report a handshake that got an HTTP error; its text is printable already."""
        if self.access_log and connection is not None:
            self._access(connection, f"refused, {answer.status}", status=answer.status)
        hint = f"; {answer.hint}" if answer.hint else ""
        self._write(
            f"refused {answer.status}",
            logging.WARNING,
            f"handshake refused, {answer.status}: {answer.reason}{hint}",
            connection=connection,
        )

    def dropped(self, code: int, reason: str, connection: Connection | None = None) -> None:
        """Report a client that broke the protocol."""
        self._write(
            f"dropped {code}",
            logging.WARNING,
            f"client dropped, {code}: {reason}",
            connection=connection,
        )

    def queue_is_full(self, connection: Connection) -> None:
        """Report the first message of a spell that a connection's queue had no room for."""
        self._write(
            "queue is full",
            logging.WARNING,
            "a client does not read: messages for it are left out until its queue is empty",
            connection=connection,
        )

    def never_fits(self, size: int) -> None:
        """Report a message that no queue ever has room for, whoever reads or does not."""
        self._write(
            "never fits",
            logging.WARNING,
            f"a message of {size} bytes is not sent: larger than what may wait for one client",
        )

    def too_many_topics(self, connection: Connection, most: int) -> None:
        """Report a client that was to have more topics than it may."""
        self._write(
            "too many topics",
            logging.WARNING,
            f"a client has {most} topics, and is not subscribed to more: see --max-topics",
            connection=connection,
        )

    def missed(self, connection: Connection, topic: str, count: int) -> None:
        """Report what was published to a topic before a subscriber had been told, and has gone."""
        self._write(
            "missed",
            logging.WARNING,
            f"a client has missed {count} of the messages of topic {printable(topic)}: more were "
            f"published before {self._names.title('subscribed')} had returned than may wait",
            connection=connection,
        )

    def slow_client_closed(self, connection: Connection) -> None:
        """Report a client that was closed, since its queue had no room for a message."""
        self._write(
            "slow client closed",
            logging.WARNING,
            "a client does not read: it is closed with 1008",
            connection=connection,
        )

    def timed_out(self, why: str, connection: Connection | None = None) -> None:
        """Report a client that was closed because it was silent."""
        self._write(
            f"timed out: {why}",
            logging.INFO,
            f"client closed, 3008: {why}",
            connection=connection,
        )

    def callback_raised(
        self, callback: str, error: BaseException, connection: Connection | None = None
    ) -> None:
        """Report what a callback raised, with the traceback.

        Clients may find out how to cause it, so this is bounded too, for each kind of error.
        """
        name = name_of(error)
        _explain(error)
        self._write(
            f"{callback} raised {name}",
            logging.ERROR,
            f"{self._names.title(callback)} raised {name}",
            error,
            connection,
        )

    def came_back(self, callback: str) -> None:
        """Report that a process that a callback has forked came back from it: it ends."""
        self._write(
            "came back",
            logging.ERROR,
            f"{self._names.title(callback)} has forked a process, which ends now: it can't go on "
            "as the server, and has to be ended by os._exit",
        )

    def out_of_descriptors(self) -> None:
        """Report that a client was turned away for want of a descriptor."""
        self._write(
            "out of descriptors",
            logging.ERROR,
            "no descriptor is left: a client is turned away; raise the limit (ulimit -n), or lower "
            "-m, --max-connections",
        )

    def descriptor_lost(self, descriptor: int, what: str) -> None:
        """Report that somebody else has closed a descriptor of the engine's."""
        self._write(
            "descriptor lost",
            logging.ERROR,
            f"descriptor {descriptor}, {what}, was closed by something else than dorrit, which "
            "lets it go: look for what closes a descriptor (os.close) or a socket a second time",
        )

    def unrecorded(self, connection: Connection) -> None:
        """Report that there is no room to write a connection down."""
        self._write(
            "unrecorded",
            logging.WARNING,
            "there is no room to write a connection down: a crash would end it",
            connection=connection,
        )

    def accept_failed(self, number: int) -> None:
        """Report that the system would not hand over a client."""
        name = errno.errorcode.get(number, str(number))
        self._write(
            "accept failed",
            logging.ERROR,
            f"no client can be accepted for now: {os.strerror(number)} ({name})",
        )

    def out_of_budget(self, held: int, connection: Connection | None = None) -> None:
        """Report that a client is closed, since the server holds too much for all of them."""
        self._write(
            "out of budget",
            logging.WARNING,
            "more messages are under way than --max-buffered allows: the client with most of them "
            f"({held} bytes) is closed",
            connection=connection,
        )

    def engine_failed(self, error: BaseException, connection: Connection | None = None) -> None:
        """Report that a connection was given up, since memory ran out or the engine has a fault."""
        if issubclass(type(error), MemoryError):
            self._write(
                "out of memory",
                logging.ERROR,
                "memory ran out: a connection is given up",
                connection=connection,
            )
        else:
            about = {} if connection is None else client_of(connection)
            text = "a fault in dorrit: a connection is given up"
            _log(logging.CRITICAL, text, error, about)


def _log(level: int, text: str, error: BaseException | None, about: Mapping[str, object]) -> None:
    if error is None:
        logger.log(level, "%s", text, extra={"about": about})
    else:
        log_raised(level, text, error, about)


def _explain(error: BaseException) -> None:
    """Add to what Python says of a mistake that is easily made what to do about it."""
    if type(error) is TypeError and _AWAITED.search(str(error)):
        error.add_note(
            "If this was awaited of a connection or a server: send(), close(), broadcast(), "
            "publish() and subscribe() return at once; leave out await. drain() does not."
        )


def _described(about: Mapping[str, object]) -> str:
    """Return whose connection it is, in words."""
    address, path = about.get("address"), about.get("path")
    return ", ".join(
        str(word) for word in (f"client {about['client']}", address, path) if word is not None
    )
