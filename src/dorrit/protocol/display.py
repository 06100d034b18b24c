"""Untrusted text made safe for one log line (R2, R23).

What a client sends may hold line ends that forge a second log line, terminal escape sequences that
act on the administrator's screen, quotes that end the quoted part of the line early, and secrets in
the query string. Everything that a client controls goes through here before it is logged; of what
it says in its request, `quoted` lets through what docs/security.md names, and nothing else.
"""

import re
from typing import Final, Literal

_MAX_BYTE: Final = 0xFF
_MAX_BASIC_PLANE: Final = 0xFFFF


def _escape(code: int) -> str:
    """Return one byte or code point as printable ASCII."""
    character = chr(code)
    # A quote of either kind never stands bare, so the result may be put between quotes of either
    # kind; and every backslash begins an escape, so the original can be read back from the log.
    if character.isascii() and character.isprintable() and character not in "\"'\\":
        return character
    if code <= _MAX_BYTE:
        return f"\\x{code:02x}"
    if code <= _MAX_BASIC_PLANE:
        return f"\\u{code:04x}"
    return f"\\U{code:08x}"


def printable(data: bytes | str, limit: int = 120) -> str:
    r"""Return ``data`` as printable ASCII for a log line.

    Control characters, quotes, backslashes and everything that is not ASCII become ``\xNN``,
    ``\uNNNN`` or ``\UNNNNNNNN``. What does not fit in ``limit`` is cut between two characters,
    never inside an escape, and the whole length is noted: ``/aaa... (70000 bytes)``.

    The work is bounded by ``limit``, not by the length of ``data``.

    Args:
        data: What the client sent, of any length.
        limit: Characters of the result, 0 or more, not counting the note about the length.

    Raises:
        ValueError: ``limit`` is negative.
    """
    if limit < 0:
        raise ValueError(f"limit is {limit}, and cannot be negative")
    # Each byte or character becomes at least one, so no more than `limit` of them can be shown.
    first = data[:limit]
    shown: list[str] = []
    room = limit
    for code in first if isinstance(first, bytes) else map(ord, first):
        piece = _escape(code)
        if len(piece) > room:
            break
        shown.append(piece)
        room -= len(piece)
    text = "".join(shown)
    if len(shown) == len(data):
        return text
    return f"{text}... ({len(data)} {'bytes' if isinstance(data, bytes) else 'characters'})"


# What an origin and a host look like (RFC 6454 section 6.2, RFC 9110 section 7.2), without the
# user name and the path that somebody may have put there.
_SHAPES: Final = {
    "origin": re.compile(r"null|[A-Za-z][A-Za-z0-9+.\-]*+://[A-Za-z0-9.\-_\[\]:%]*+"),
    "host": re.compile(r"[A-Za-z0-9.\-_\[\]:%]*+"),
}

_QUOTED_MAX: Final = 64
_LOOKED_AT_MAX: Final = 512


def quoted(what: Literal["origin", "host", "path"], value: str) -> str:
    """Return something that a client said for a log line, in quotes; only these three may be there.

    The origin, the host and the path (without the query) are what an administrator looks for. In
    any other field, and in these if they are malformed, a client may have put a token or a
    password, which browsers can send in no better place: of them a log line says what is wrong.

    Args:
        what: What it is; one that does not look like it is not repeated.
        value: As the client sent it, of any length.
    """
    if what == "path":
        return f'"{target_for_log(value, _QUOTED_MAX)}"'
    if len(value) > _LOOKED_AT_MAX or not _SHAPES[what].fullmatch(value):
        return "(malformed)"
    return f'"{printable(value, _QUOTED_MAX)}"'


def target_for_log(target: bytes | str, limit: int = 120) -> str:
    """Return a request target for a log line, without its query and fragment.

    A browser cannot set headers on a WebSocket, so applications put session tokens into the query
    string. It is never logged, and neither is the userinfo (``user:password@``) of an absolute-form
    target.

    Args:
        target: The request target as it was sent (RFC 9112 section 3.2).
        limit: As for `printable`.

    Raises:
        ValueError: ``limit`` is negative.
    """
    text = target if isinstance(target, str) else target.decode("latin-1")
    path = re.split("[?#]", text, maxsplit=1)[0]
    if not path.startswith("/"):
        scheme, mark, rest = path.partition("://")
        authority, slash, rest = rest.partition("/")
        path = scheme + mark + authority.rpartition("@")[2] + slash + rest
    return printable(path, limit)
