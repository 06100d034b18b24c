"""How long the end of a server waits for what it has told to end."""

from typing import Final

CANCELLED: Final = 1.0
"""Seconds for a handler to end when it was cancelled; after a second request to stop, for all of
them together."""

PROMPT: Final = 0.05
"""Seconds that a handler has at least: what ends as soon as it is cancelled can still do so."""

SLACK: Final = 2.0
"""Seconds that a step of a server's end has besides the grace period."""

HURRIED: Final = 1.5
"""Seconds that a step of a server's end has after a second signal, `CANCELLED` included."""
