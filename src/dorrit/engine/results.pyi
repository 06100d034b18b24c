"""What Python sees of `dorrit.engine.results`."""

def check_result(callback: str, result: object, may_be_async: bool = True) -> int:
    """Raise a TypeError if what a callback has returned shows that it has not run."""
