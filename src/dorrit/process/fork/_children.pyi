"""What Python sees of `dorrit.process.fork._children`."""

def hold_back(number: int) -> None:
    """Have `hold` block this signal, too."""

def hold() -> None:
    """Block these signals in the thread that calls it, and in what it forks then."""

def release() -> None:
    """Put back the mask that the thread had before `hold`."""
