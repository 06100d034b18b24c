"""CallbackNames: what the user calls the callbacks, for what is said of them."""

from typing import Final, NamedTuple


class CallbackNames(NamedTuple):
    """What the user calls the callbacks.

    Attributes:
        word: "handler", or "callback".
        kind: Of the one for messages, in "the ... handler raised".
        message: The name of the one for messages.
        close: The name of the one that is called at a connection's end.
        may_be_async: Whether they could be declared with `async def`.
    """

    word: str
    kind: str
    message: str
    close: str
    may_be_async: bool

    def title(self, callback: str) -> str:
        """Return what the log calls a function, by the engine's word for it; "" for any."""
        if callback in FUNCTIONS:
            return FUNCTIONS[callback]
        return f"the {callback} {self.word}" if callback else f"a {self.word}"


FUNCTIONS: Final = {
    "call_soon_threadsafe": "the function of call_soon_threadsafe",
    "periodic": "the periodic function",
    "signal": "the signal handler",
    "topic": "the function of on_topic",
    "watching": "the function that watches a descriptor",
}
"""What has one name for all users."""

HANDLERS: Final = CallbackNames("handler", "message", "on_message", "on_close", may_be_async=True)
"""Those of a `Server` object."""
