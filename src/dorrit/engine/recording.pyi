"""What Python sees of `dorrit.engine.recording`, which only the engine uses."""

from typing import final

@final
class Parts:
    """What has been written down of a message that is under way."""

@final
class Recording:
    """The ledger of an engine's connections.

    Attributes:
        recorded: Connections that have a record; for the others there was no room.
    """

    @property
    def recorded(self) -> int: ...
    @property
    def place(self) -> tuple[int, int]:
        """Where it is in memory, and how many bytes."""
