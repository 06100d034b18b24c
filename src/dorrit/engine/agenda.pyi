"""What Python sees of `dorrit.engine.agenda`."""

from typing_extensions import disjoint_base

@disjoint_base
class Agenda:
    """What the connections of one engine share; the base of `dorrit.engine.Engine`."""

    @property
    def buffer_size(self) -> int:
        """Bytes, 10 to 65540 (R30)."""
    @property
    def connections(self) -> int:
        """Connections that have a descriptor, in whatever state."""
    @property
    def assembled(self) -> int:
        """Bytes that incomplete messages take, and what was read too early (for tests)."""
    @property
    def lingering(self) -> int:
        """How many of them are over for the user, and only wait for their end."""
