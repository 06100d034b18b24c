"""What Python sees of `dorrit.engine.calls`."""

from collections.abc import Callable
from typing import Any

from typing_extensions import disjoint_base

from dorrit.engine.connection import Connection
from dorrit.engine.timekeeper import Timekeeper

@disjoint_base
class Calls(Timekeeper):
    """What other threads ask for, and what watches the caller's own descriptors."""

    def adopt(self, descriptor: int) -> Connection | None:
        """Take a connected stream socket, which does not block, as a client; None: no memory.

        Raises:
            OSError: It is not open, or the engine has it already.
        """

    def watch(self, descriptor: int, function: Callable[[], object]) -> None:
        """Call `function()` in each turn in which a descriptor is readable, until `unwatch`."""
    def unwatch(self, descriptor: int) -> None:
        """Leave a descriptor alone from now on. Do nothing if it is not watched."""
    @property
    def turns(self) -> int:
        """How many have begun."""
    def call_at_turn(self, function: Callable[[], object]) -> None:
        """Call `function()` once, when the next turn begins that has something to do."""
    def call_soon_threadsafe(
        self,
        function: Callable[..., object],
        *arguments: Any,  # noqa: ANN401 - the function's
    ) -> None:
        """Call `function(*arguments)` in the loop's thread, soon; from any thread."""
