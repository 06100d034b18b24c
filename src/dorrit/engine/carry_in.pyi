"""What Python sees of `dorrit.engine.carry_in`, which only the engine uses."""

from typing import final

def descriptors_in(descriptor: int) -> list[int]:
    """Return the descriptors of the connections that a ledger tells of, as far as it is whole.

    Args:
        descriptor: Of its file.

    Raises:
        ValueError: It is not a ledger that this release reads.
        OSError: It can't be read.
    """

@final
class Arrival:
    """One connection as it was, before it is anybody's."""

@final
class FramesRead:
    """The frames of a ledger: each is made once, for all queues that it stands in.

    Attributes:
        copy: The ledger's, borrowed.
    """
