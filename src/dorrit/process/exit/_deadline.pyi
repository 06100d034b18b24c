"""See `_deadline.pyx`."""

def set_deadline(seconds: float, number: int) -> None:
    """Give the process so many seconds; then the calling thread gets a signal, or it is ended."""

def catch(
    number: int,
    *,
    status: int,
    report: int,
    traceback: int,
    prefix: bytes,
    line: bytes,
    instead: int = 0,
) -> None:
    """Have a signal end the process with a status, and write a line and a file to `report`.

    Args:
        number: The signal.
        status: The exit status.
        report: The descriptor that is written to.
        traceback: That of the file.
        prefix: What each line begins with.
        line: The first one.
        instead: The address of a function that is called then, takes nothing and is
            async-signal-safe; 0: none. If it returns, the process ends.
    """
