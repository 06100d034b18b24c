"""What calling a function makes: a result, a coroutine, or a generator that nobody runs."""

import inspect


def is_async(function: object) -> bool:
    """Tell whether calling this makes a coroutine, as an `async def` does."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an instance with an async __call__
    )


def is_generator(function: object) -> bool:
    """Tell whether calling this only makes a generator: its body would never run."""
    return any(
        inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, getattr(function, "__call__", None))  # noqa: B004 - as above
    )
