"""What calling a function makes: a result, a coroutine, or a generator that nobody runs."""

import inspect
from collections.abc import Callable


def is_async(function: object) -> bool:
    """Tell whether calling this makes a coroutine, as an `async def` does."""
    return any(map(inspect.iscoroutinefunction, _called(function)))


def is_generator(function: object) -> bool:
    """Tell whether calling this only makes a generator: its body would never run."""
    return any(
        inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one)
        for one in _called(function)
    )


def takes(function: Callable[..., object], count: int) -> bool:
    """Tell whether this can be called with so many arguments; not if it does not say."""
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def _called(function: object) -> tuple[object, ...]:
    """Return what a call of this runs: the function itself, or an object's `__call__`."""
    return (function, function.__call__) if callable(function) else ()
