"""Makes a `Resumption` of a resume handler, or of the open handler, which decides again."""

import functools
from collections.abc import Callable
from typing import Any

from dorrit.api.admission import async_verdict_of, verdict_of
from dorrit.dispatch.callables import is_async, takes
from dorrit.dispatch.handlers import Handlers, ignore
from dorrit.dispatch.resumption import Resumption
from dorrit.engine import Connection
from dorrit.engine.results import check_result
from dorrit.protocol.closing import CloseCode, Dismissal
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, Refusal

ARGUMENTS = 3
"""Of a resume handler that takes the message under way, too."""


def resumption_of(handlers: Handlers) -> Resumption:
    """Return what becomes of connections of an earlier image."""
    if handlers.resume is not None:
        takes_begun = takes(handlers.resume, ARGUMENTS)
        resume = _resume_async if is_async(handlers.resume) else _resume
        function = functools.partial(resume, handlers.resume, takes_begun)
        return Resumption(function, "resume", takes_begun)
    if handlers.open is not None:
        reopen = _reopen_async if is_async(handlers.open) else _reopen
        return Resumption(functools.partial(reopen, handlers.open), "open", takes_begun=False)
    return Resumption(ignore, "open", takes_begun=False)


def _resume(
    function: Callable[..., Any],
    takes_begun: bool,  # noqa: FBT001 - no user calls it
    conn: Connection,
    state: bytes | None,
    begun: str | bytes | None,
) -> None:
    result = function(conn, state, begun) if takes_begun else function(conn, state)
    check_result("on_resume", result)


async def _resume_async(
    function: Callable[..., Any],
    takes_begun: bool,  # noqa: FBT001 - likewise
    conn: Connection,
    state: bytes | None,
    begun: str | bytes | None,
) -> None:
    await (function(conn, state, begun) if takes_begun else function(conn, state))


def _reopen(
    function: Callable[..., Any], conn: Connection, _state: bytes | None, _begun: str | bytes | None
) -> Dismissal | None:
    _leave_topics(conn)
    return _dismissal_of(verdict_of(function, conn))


async def _reopen_async(
    function: Callable[..., Any], conn: Connection, _state: bytes | None, _begun: str | bytes | None
) -> Dismissal | None:
    _leave_topics(conn)
    return _dismissal_of(await async_verdict_of(function, conn))


def _leave_topics(conn: Connection) -> None:
    """Let the open handler begin with none: it subscribes as for a new client."""
    for topic in conn.topics:
        conn.unsubscribe(topic)


def _dismissal_of(refusal: Refusal | None) -> Dismissal | None:
    if refusal is None:
        return None
    return Dismissal(CloseCode.POLICY_VIOLATION, OPEN_CALLBACK_REFUSED[1], is_told=False)
