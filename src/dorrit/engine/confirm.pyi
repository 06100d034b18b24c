"""Subscriptions of which the user is told that they stand: until then what is published waits."""

from typing import final

@final
class Kept:
    """A message that waits in a topic."""
