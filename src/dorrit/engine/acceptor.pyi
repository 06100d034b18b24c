"""What Python sees of `dorrit.engine.acceptor`."""

from typing_extensions import disjoint_base

from dorrit.engine.agenda import Agenda
from dorrit.engine.connection import Connection

@disjoint_base
class Acceptor(Agenda):
    """Takes clients from the listening socket; a base of `dorrit.engine.Engine`."""

    def open_connections(self) -> list[Connection]:
        """The connections that the open callback has accepted and that are not closing."""
    def all_connections(self) -> list[Connection]:
        """The connections that have a descriptor, in whatever state."""
