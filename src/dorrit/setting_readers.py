"""What settings may be as text: a reader of it for each kind.

A reader returns the value, and raises ValueError with the reason, in one line, if the text is none.
"""

import re
from collections.abc import Callable
from typing import Final

NO_TCP: Final = (
    "dorrit listens on UNIX-domain sockets only, behind a web server; for development, "
    "'dorrit dev' has a TCP port"
)

ADDRESS: Final = re.compile(r"(?:[\w.-]*|\[[0-9A-Fa-f:]*\]):?[0-9]+")
"""A TCP port, or a host with one."""


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `minimum` to `maximum`."""

    def read(text: str) -> int:
        # int() takes "1_000", " 7" and "٣" as well, which nobody means to write here.
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{text!r} is no whole number from {minimum} to {maximum}")
        digits = text.lstrip("0") or "0"  # int() refuses some thousand of them
        if len(digits) > len(str(maximum)) or not minimum <= int(digits) <= maximum:
            raise ValueError(f"{text} is out of range: it must be {minimum} to {maximum}")
        return int(digits)

    return read


def zero_or(read_number: Callable[[str], int]) -> Callable[[str], int]:
    """Return a reader of 0, or of what another reader takes."""

    def read(text: str) -> int:
        if text == "0":
            return 0
        try:
            return read_number(text)
        except ValueError as error:
            raise ValueError(f"{error}, or 0") from None

    return read


def seconds(minimum: float, maximum: float, *, zero: bool = True) -> Callable[[str], float]:
    """Return a reader of seconds from `minimum` to `maximum`, with or without a fraction.

    Args:
        minimum: The least.
        maximum: The most.
        zero: 0 is allowed besides.
    """
    span = f"{minimum:g} to {maximum:g}"

    def read(text: str) -> float:
        # float() takes "1e3", "1_0", "+1", "inf" and "nan" as well.
        if not re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", text):
            raise ValueError(f"{text!r} is no number of seconds, such as 20 or 0.5")
        value = float(text)  # what is too large becomes an infinity
        if (value or not zero) and not minimum <= value <= maximum:
            raise ValueError(
                f"{text} is out of range: it must be {span}{', or 0' if minimum and zero else ''}"
            )
        return value

    return read


def absolute_path(text: str) -> str:
    """Read the path of a file that may not exist yet."""
    if not text.startswith("/"):
        advice = f"; {NO_TCP}" if ADDRESS.fullmatch(text) else ""
        raise ValueError(f"{text!r} is not absolute: it must begin with /{advice}")
    return file_name(text)


def url_path(text: str) -> str:
    """Read the path of a URL, as requests have it."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is no path of a URL: it must begin with /")
    # RFC 3986 section 3.3; a query and a fragment are no part of it.
    if "?" in text or "#" in text:
        raise ValueError(f"{text!r} is no path of a URL: it must have no query and no fragment")
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError(
            f"{text!r} is no path of a URL: what is not visible ASCII must be percent-encoded"
        )
    return text


def file_name(text: str) -> str:
    """Read the name of a file."""
    if not text or "\0" in text:
        raise ValueError(f"{text!r} can't be a file's name: it is empty or has a NUL character")
    return text


def user_name(text: str) -> str:
    """Read the name or the number of a user or a group."""
    if not text or "\0" in text:
        raise ValueError(f"{text!r} can't be a name: it is empty or has a NUL character")
    return text


def one_of(*words: str) -> Callable[[str], str]:
    """Return a reader of one of some words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is none of {', '.join(words)}")
        return text

    return read


def one_of_in_any_case(*words: str) -> Callable[[str], str]:
    """Return a reader of one of some words, however it is capitalised."""
    spellings = {word.lower(): word for word in words}

    def read(text: str) -> str:
        if text.lower() not in spellings:
            raise ValueError(f"{text!r} is none of {', '.join(words)}")
        return spellings[text.lower()]

    return read


def text_of(value: object) -> str:
    """Return the text that a setting's reader makes this value of; no reader takes an exponent."""
    if not isinstance(value, float):
        return str(value)
    if value.is_integer():
        return f"{value:.0f}"
    digits, _, exponent = float.__repr__(value).partition("e-")
    if not exponent:
        return digits
    return f"{value:.{int(exponent) + len(digits.partition('.')[2])}f}"
