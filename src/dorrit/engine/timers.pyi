"""What Python sees of `dorrit.engine.timers`."""

from typing_extensions import disjoint_base

@disjoint_base
class Timer:
    """A function that is called periodically; made by `Engine.every`."""

    def cancel(self) -> None:
        """Let the function not be called any more."""
