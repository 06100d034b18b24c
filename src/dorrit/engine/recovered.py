"""Recovered: what a subscriber is told when its subscription is confirmed."""

from typing import NamedTuple


class Recovered(NamedTuple):
    """What a subscriber has got of what was published before, when it has subscribed.

    Attributes:
        messages: How many messages it has got of those that it had missed.
        complete: Whether that is all that it had missed. Who has asked for nothing has missed
            nothing.
    """

    messages: int = 0
    complete: bool = True
