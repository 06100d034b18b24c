"""What Python sees of `dorrit.engine.roster`."""

from collections.abc import Callable, Iterable
from typing import final

ASK: int
"""What a supervisor says to a worker: it wants to know how that is."""

@final
class Roster:
    """The connections of a supervisor.

    Attributes:
        connections: How many there are.
        is_stalled: Others have too many descriptors on their way: call `send` again in a while.

    Args:
        on_message: Called with the kind and the text of each message of a worker that is not about
            a connection.
        on_end: Called with True when the worker will say nothing any more, or with False when it
            has said what can't be.
    """

    def __init__(
        self, on_message: Callable[[int, bytes], object], on_end: Callable[[bool], object]
    ) -> None:
        """Begin without connections, and without a worker."""
    @property
    def connections(self) -> int: ...
    @property
    def is_stalled(self) -> bool: ...
    def attach(self, descriptor: int, poller: int) -> None:
        """Speak to a worker from now on; it takes no connection before `open`.

        Args:
            descriptor: Of a connected stream socket, which it owns from here on.
            poller: The descriptor of the engine (`Engine.fileno`) in whose turns it is heard.

        Raises:
            OSError: The descriptor can't be watched.
        """
    def detach(self, poller: int) -> None:
        """Speak to the worker no more: it has ended, or is to. Connections stay as they are."""
    def open(self) -> None:
        """Pass on to the worker what is accepted from now on: it has all that it was given."""
    def hand_over(self, text: bytes, ledger: int) -> None:
        """Give a worker all connections, and whatever else the last one has left.

        Args:
            text: What there is to say of it.
            ledger: The descriptor of the ledger that the last one has kept, borrowed until it has
                been sent; -1: there is none.

        Raises:
            OSError: There is no memory, or the text is too long.
        """
    def put(self, kind: int, text: bytes = b"") -> None:
        """Say something to the worker; `send` sends it.

        Raises:
            OSError: The text is too long, or there is no memory.
        """
    def send(self, poller: int) -> None:
        """Send what has been said, as far as that goes now; the turns of the engine do the rest."""
    def drain(self, poller: int) -> None:
        """Hear what a worker has said before it ended."""
    @property
    def descriptor(self) -> int:
        """That of the channel; -1: there is none."""
    @property
    def is_settled(self) -> bool:
        """Whether the worker serves, and nothing is half said on either side of the channel."""
    def state(self) -> tuple[int, list[tuple[int, int, int]]]:
        """Return what `restore` needs to go on with, in another image of this process."""
    def restore(self, generation: int, entries: Iterable[tuple[int, int, int]]) -> None:
        """Go on with the connections of the image before, to whose worker a channel is attached.

        Args:
            generation: As `state` has returned it.
            entries: Likewise.

        Raises:
            OSError: A descriptor is not open.
            ValueError: That can't be.
            RuntimeError: There are connections already.
        """
    def let_go(self) -> None:
        """Leave all of them to the supervisor, in a process that was forked off that."""
    def end_all(self) -> None:
        """End all connections: there will be no worker any more."""
