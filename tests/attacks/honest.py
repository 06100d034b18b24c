"""The client that means well: numbered messages all the time, each of which must come back."""

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.frames import REQUEST
from tests.support.servers import TIMEOUT, AnsweringClient, Client

PACE = 0.002
"""Seconds between two messages: somebody who is at home in a chat, not a flood."""

NEWCOMER_EACH = 10
"""Messages after which another client comes, has a word and goes."""


@dataclass(slots=True)
class Figures:
    """How long the answers took, in seconds."""

    messages: list[float] = field(default_factory=list)
    newcomers: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.messages)

    @property
    def worst(self) -> float:
        return max(self.messages)


class Honest:
    """A client whose messages must all be answered, in order; what does not come fails the test.

    Attributes:
        exchanged: Messages that have come back.
        feed: Messages of the server's own that have come, which are numbered as well.
    """

    def __init__(
        self, address: Path | int, *, request: bytes = REQUEST, newcomers: bool = True
    ) -> None:
        self._address = address
        self._request = request
        self._newcomers = newcomers
        self._client = AnsweringClient(address, request)
        assert self._client.status == 101, self._client.head
        self.exchanged = 0
        self.feed = 0

    def exchange(self) -> float:
        """Send the next message, wait for its echo, and return how long it took."""
        text = f"honest {self.exchanged}"
        began = time.monotonic()
        self._client.send(text)
        while (answer := self._client.text()) != text:
            # The feed of the server, whole and in order.
            assert answer.split(maxsplit=2)[:2] == ["feed", str(self.feed)], answer[:100]
            self.feed += 1
        self.exchanged += 1
        return time.monotonic() - began

    def bring_newcomer(self) -> float:
        """Have another client connect, exchange a message and close; return how long it took.

        One that is turned away, since it did not say what it wants before many others came, tries
        again, as browsers do.
        """
        began = time.monotonic()
        client = Client(self._address, self._request)
        while client.status == 503:
            client.socket.close()
            assert time.monotonic() - began < TIMEOUT, "no newcomer gets in"
            client = Client(self._address, self._request)
        with contextlib.closing(client.socket):
            assert client.status == 101, client.head
            client.send("newcomer")
            while (answer := client.text()) != "newcomer":
                assert answer.startswith("feed "), answer[:100]
            return time.monotonic() - began

    def has_its_part(self, figures: Figures) -> bool:
        """Whether it was served often enough to say that it is."""
        newcomers = 2 if self._newcomers else 0
        return len(figures.messages) >= 20 and len(figures.newcomers) >= newcomers

    def go_on_until(self, over: Callable[[Figures], bool]) -> Figures:
        """Exchange messages until something is over, and three at least."""
        figures = Figures()
        while len(figures.messages) < 3 or not over(figures):
            figures.messages.append(self.exchange())
            if self._newcomers and self.exchanged % NEWCOMER_EACH == 0:
                figures.newcomers.append(self.bring_newcomer())
            time.sleep(PACE)
        assert figures.worst < TIMEOUT
        return figures

    def go_on_for(self, seconds: float) -> Figures:
        """Exchange messages for some time."""
        end = time.monotonic() + seconds
        return self.go_on_until(lambda _: time.monotonic() >= end)

    def close(self) -> None:
        self._client.socket.close()
