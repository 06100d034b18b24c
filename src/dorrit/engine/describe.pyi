"""What Python sees of `dorrit.engine.describe`, which only the engine uses."""

from typing import final

@final
class Carried:
    """What is written down of one connection, as far as that has to be made first."""
