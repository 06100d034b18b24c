"""The messages that every client exchanges with the echo server."""

SIZES = (1, 125, 126, 65_535)
"""Payloads in bytes: the least that dorrit sends; the last length that fits in the first two bytes
of a frame (RFC 6455 section 5.2) and the first that doesn't; the largest that fits in two more,
which is also the largest that dorrit accepts by default (R30)."""

PATTERN = "aß€😀"
"""Characters of one, two, three and four bytes in UTF-8."""

Message = str | bytes


def ascii_text(size: int) -> str:
    """Return ``size`` bytes of ASCII."""
    return "".join(chr(0x20 + index % 0x5F) for index in range(size))


def multibyte_text(size: int) -> str:
    """Return a text of ``size`` bytes in UTF-8, 10 or more, that ends with a 4-byte character."""
    count, rest = divmod(size, len(PATTERN.encode()))
    return "x" * rest + PATTERN * count


def binary(size: int) -> bytes:
    """Return ``size`` bytes of all values, most of which are no UTF-8."""
    return bytes((255 - index) % 256 for index in range(size))


def all_messages() -> dict[str, Message]:
    """Return each message by its name."""
    messages: dict[str, Message] = {}
    for size in SIZES:
        messages[f"text-{size}"] = ascii_text(size)
        if size >= len(PATTERN.encode()):
            messages[f"multibyte-text-{size}"] = multibyte_text(size)
        messages[f"binary-{size}"] = binary(size)
    return messages
