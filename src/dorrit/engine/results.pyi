"""What Python sees of `dorrit.engine.results`."""

def check_result(callback: str, result: object, may_be_async: bool = True) -> int:
    """Raise a TypeError if what a callback has returned shows that it has not run.

    That is a coroutine, which is closed, another awaitable or a generator. Tasks and futures get on
    by themselves.

    Args:
        callback: Its name, for the error.
        result: What it has returned.
        may_be_async: Whether it could be declared with `async def`.
    """
