"""What Python sees of `dorrit.engine.channel`."""

from typing import final

READY: int
STATUS: int
LEAVING: int
"""What a worker says: it serves; how it is; it ends for the next one, and why. All have a text."""

@final
class Channel:
    """The worker's end of its channel to the supervisor.

    Args:
        descriptor: Of a connected stream socket, which it owns from here on.
    """

    def __init__(self, descriptor: int) -> None:
        """Begin with a connected stream socket, which it owns from here on."""
    @property
    def descriptor(self) -> int:
        """Its descriptor; -1: it is closed."""
    def receive_handover(self, seconds: float) -> tuple[bytes, int, list[tuple[int, bool]]]:
        """Wait for what the last worker has left, which the supervisor sends first of all.

        Args:
            seconds: For how long at the most.

        Returns:
            A text, the descriptor of a ledger or -1, and for each connection its descriptor and
            whether the last worker had taken it. The caller owns all of these descriptors.

        Raises:
            OSError: It does not come, or something else does.
        """
    def put(self, kind: int, text: bytes = b"") -> None:
        """Say something else, before the loop turns or while it does.

        Raises:
            OSError: The text is too long, or there is no memory.
        """
    def send(self) -> bool:
        """Send what has been said, without a wait; return whether all of it has gone."""
    def let_go(self) -> None:
        """Leave it to the worker, in a process that was forked off that."""
