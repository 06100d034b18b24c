"""CallbackNames: what the user calls the callbacks, for what is said of them."""

from typing import Final, NamedTuple


class CallbackNames(NamedTuple):
    """What the user calls the callbacks.

    Attributes:
        kind: Of the one for messages, in "the ... callback raised".
        message: The name of the one for messages.
        close: The name of the one that is called at a connection's end.
        may_be_async: Whether they could be declared with `async def`.
    """

    kind: str
    message: str
    close: str
    may_be_async: bool


HANDLERS: Final = CallbackNames("message", "on_message", "on_close", may_be_async=True)
"""Those of a `Server` object."""
