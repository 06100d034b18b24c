"""What Python sees of `dorrit.engine.acceptor`."""

from typing_extensions import disjoint_base

from dorrit.engine.agenda import Agenda

@disjoint_base
class Acceptor(Agenda):
    """Takes clients from the listening socket; a base of `dorrit.engine.Engine`."""

    @property
    def max_connections(self) -> int:
        """Simultaneous connections (R32)."""
