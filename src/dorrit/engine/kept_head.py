"""What the process's next image gets of a request: its head, and the subprotocol agreed on."""

from typing import Final

from dorrit.protocol.request import Request

MARK: Final = b"\0"
"""Begins what is more than a head, which never begins so."""

LENGTH: Final = 2
"""Bytes of the subprotocol's length, which is less than that of the largest head."""


def with_subprotocol(head: bytes, subprotocol: str) -> bytes:
    """Return a head together with the subprotocol that the response names."""
    name = subprotocol.encode("ascii")
    return MARK + len(name).to_bytes(LENGTH, "big") + name + head


def kept_of(request: Request) -> bytes:
    """Return what `split` takes, of a request that has been kept."""
    if request.subprotocol is None:
        return request.head()
    return with_subprotocol(request.head(), request.subprotocol)


def split(kept: bytes) -> tuple[bytes, str | None]:
    """Return the head, and the subprotocol or None.

    Args:
        kept: A head, or what `with_subprotocol` has returned; nothing else is believed.

    Raises:
        ValueError: It is neither.
    """
    if not kept.startswith(MARK):
        return kept, None
    start = len(MARK) + LENGTH
    end = start + int.from_bytes(kept[len(MARK) : start], "big")
    if end > len(kept):
        raise ValueError("the subprotocol is not whole")
    return kept[end:], kept[start:end].decode("ascii")
