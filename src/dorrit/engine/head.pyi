"""What Python sees of `dorrit.engine.head`, whose functions only the engine calls."""

from typing import Final

PENDING: Final[object]
"""What an open callback returns that will answer later, with `Engine.answer`."""
