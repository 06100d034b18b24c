"""What Python sees of `dorrit.engine.timekeeper`."""

from collections.abc import Callable

from typing_extensions import disjoint_base

from dorrit.engine.acceptor import Acceptor

@disjoint_base
class Timer:
    """A function that is called periodically; made by `Engine.every`."""

    def cancel(self) -> None:
        """Let the function not be called any more."""

@disjoint_base
class Timekeeper(Acceptor):
    """Calls functions periodically, and ends the connections that take too long."""

    def every(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Call `function()` each time that many seconds have passed since the last call (R14).

        Raises:
            ValueError: `seconds` is not positive.
        """
