"""What Python sees of `dorrit.engine.frames`, whose functions only the engine calls."""

WHAT_IS_WRONG: dict[int, str]
"""Why a frame's header is refused, by the verdict of the core in C."""
