"""What Python sees of `dorrit.engine.connection`."""

from typing import Any, final

STATE_NAMES: dict[int, str]

@final
class Connection:
    """One client's connection. The server makes these and hands them to your callbacks.

    Attributes:
        data: Whatever you want to keep with the connection; None until set (R15).
    """

    data: Any
    @property
    def dropped(self) -> int:
        """Messages that were not queued, because this client did not read (R20)."""
    @property
    def is_open(self) -> bool:
        """Whether messages can still be queued for this client."""
    @property
    def pending(self) -> int:
        """Frames of messages that have not been written yet, 0 to 200."""
    @property
    def pending_bytes(self) -> int:
        """Bytes that have not been written yet, frame headers and control frames included."""
    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection after what is queued has been written.

        Raises:
            ValueError: The code must not be sent (RFC 6455 section 7.4).
        """
    def abort(self) -> None:
        """Close the connection at once; what is queued is not written."""

def connections_alive() -> int:
    """The number of `Connection` objects in this process, closed ones that are held included."""
