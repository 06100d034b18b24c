"""See `_deadline.pyx`."""

def set_deadline(seconds: float, number: int) -> None:
    """Give the process so many seconds; then the calling thread gets a signal, or it is ended."""

def catch(
    number: int, *, status: int, report: int, traceback: int, prefix: bytes, line: bytes
) -> None:
    """Have a signal end the process with a status, and write a line and a file to `report`."""
