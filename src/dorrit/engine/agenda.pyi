"""What Python sees of `dorrit.engine.agenda`."""

from typing_extensions import disjoint_base

@disjoint_base
class Agenda:
    """What the connections of one engine share; the base of `dorrit.engine.Engine`."""

    @property
    def connections(self) -> int:
        """Connections that have a descriptor, in whatever state."""
    def stay(self) -> None:
        """Leave nothing to a process that is forked off this one, by whom and whenever."""
    def own(self) -> None:
        """Make the calling process the one that it belongs to, if no callback has forked it."""
    @property
    def is_forked(self) -> bool:
        """Whether this is another process than the one that it belongs to."""
    def check_process(self, callback: str, error: BaseException | None) -> None:
        """End a callback in a process that it has forked, with what it has raised or SystemExit."""
    @property
    def assembled(self) -> int:
        """Bytes of incomplete messages, and of what was read too early or is kept (for tests)."""
    @property
    def in_turn(self) -> bool:
        """Whether a turn is under way."""
    @property
    def departed(self) -> int:
        """Connections that are over, and for which handlers still run."""
    @property
    def lingering(self) -> int:
        """How many of them are over for the user, and only wait for their end."""
