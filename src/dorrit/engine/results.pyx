# cython: language_level=3, freethreading_compatible=False
"""What callbacks return: nothing that anybody wants, unless it shows that they have not run.

A function that passes on what an `async` one has returned looks like a plain one. Its coroutine would
be thrown away, and with it each message, without a word.
"""

from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator


cdef extern from *:
    """
    /* What can be awaited has these slots, generators have, and all objects of classes in Python. What
       callbacks do return (True, a number) has not, and costs next to nothing. */
    static inline int dorrit_may_be_awaited(PyObject *object)
    {
        return Py_TYPE(object)->tp_as_async != NULL;
    }
    """
    bint dorrit_may_be_awaited(object)


cpdef int check_result(str callback, object result, bint may_be_async=True) except -1:
    """Raise a TypeError if what a callback has returned shows that it has not run.

    That is a coroutine, which is closed, another awaitable or a generator. Tasks and futures get on
    by themselves.

    Args:
        callback: Its name, for the error.
        result: What it has returned.
        may_be_async: Whether it could be declared with `async def`.
    """
    if not dorrit_may_be_awaited(result):
        return 0
    if isinstance(result, (Generator, AsyncGenerator)) and not isinstance(result, Awaitable):
        raise TypeError(
            f"{callback} has returned a generator, which nobody runs: it must have no `yield`")
    if not isinstance(result, Awaitable) or hasattr(type(result), "_asyncio_future_blocking"):
        return 0
    kind = "an awaitable"
    if isinstance(result, Coroutine):
        kind = "a coroutine"
        result.close()      # it is not awaited, and need not say so
    advice = "it can't be async"
    if may_be_async:
        advice = "declare the function with `async def`, or await it in one that is"
    raise TypeError(f"{callback} has returned {kind}, which nobody awaits: {advice}")
