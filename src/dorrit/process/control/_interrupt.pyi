"""What Python sees of `dorrit.process.control._interrupt`."""

def insist_on(number: int, interruption: int) -> None:
    """Send a signal to the calling thread, again and again, once another one has come.

    Args:
        number: What is to be handled. It has a handler of Python's.
        interruption: What the thread gets 20 times a second until `heard` is called. It has a
            handler that does nothing.

    Raises:
        OSError: There is no timer for it.
    """

def heard() -> None:
    """Say that what has come is being handled; for handlers of signals."""
