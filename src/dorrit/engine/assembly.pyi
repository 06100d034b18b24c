"""What Python sees of `dorrit.engine.assembly`, which only the engine uses."""

from typing import final

@final
class Assembly:
    """A message of which only a part has come yet."""
