"""What settings may be as text: a reader of it for each kind.

A reader returns the value, and raises ValueError with the reason, in one line, if the text is none.
"""

import re
from typing import Final

NO_TCP: Final = (
    "dorrit listens on UNIX-domain sockets only, behind a web server; for development, "
    "'dorrit dev' has a TCP port"
)

ADDRESS: Final = re.compile(r"(?:[\w.-]*|\[[0-9A-Fa-f:]*\]):?[0-9]+")
"""A TCP port, or a host with one."""

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")

LOG_FORMATS: Final = ("text", "json")

ADDRESS_HEADERS: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP")
"""The header fields in which web servers pass on a client's address."""

EVENT_LOOPS: Final = ("auto", "asyncio", "uvloop")

TAKEOVERS: Final = ("none", "server", "client", "both")
"""Which side may use what it has compressed before (RFC 7692 section 7.1.1)."""

SLOW_CLIENTS: Final = ("refuse", "close")
"""What may happen to a message for a client whose queue is full."""


class WholeNumber:
    """Reads whole numbers.

    Attributes:
        least: The least.
        most: The most.
        zero: 0 is allowed besides.
    """

    def __init__(self, least: int, most: int, *, zero: bool = False) -> None:
        """Read those from the least to the most."""
        self.least = least
        self.most = most
        self.zero = zero

    def __call__(self, text: str) -> int:
        """Read one."""
        alternative = ", or 0" if self.zero else ""
        if self.zero and text == "0":
            return 0
        # int() takes "1_000", " 7" and "٣" as well, which nobody means to write here.
        if not (text.isascii() and text.isdigit()):
            raise ValueError(
                f"{text!r} is not a whole number from {self.least} to {self.most}{alternative}"
            )
        digits = text.lstrip("0") or "0"  # int() refuses some thousand of them
        if len(digits) > len(str(self.most)) or not self.least <= int(digits) <= self.most:
            raise ValueError(
                f"{text} is out of range: it must be {self.least} to {self.most}{alternative}"
            )
        return int(digits)


class Seconds:
    """Reads seconds, with or without a fraction.

    Attributes:
        least: The least.
        most: The most.
        zero: 0 is allowed besides.
    """

    def __init__(self, least: float, most: float, *, zero: bool = False) -> None:
        """Read those from the least to the most."""
        self.least = least
        self.most = most
        self.zero = zero

    def __call__(self, text: str) -> float:
        """Read some."""
        # float() takes "1e3", "1_0", "+1", "inf" and "nan" as well.
        if not re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", text):
            raise ValueError(f"{text!r} is not a number of seconds, such as 20 or 0.5")
        value = float(text)  # what is too large becomes an infinity
        if (value or not self.zero) and not self.least <= value <= self.most:
            alternative = ", or 0" if self.zero else ""
            raise ValueError(
                f"{text} is out of range: it must be {self.least:g} to {self.most:g}{alternative}"
            )
        return value


def absolute_path(text: str) -> str:
    """Read the path of a file that may not exist yet."""
    if not text.startswith("/"):
        advice = f"; {NO_TCP}" if ADDRESS.fullmatch(text) else ""
        raise ValueError(f"{text!r} is not absolute: it must begin with /{advice}")
    return file_name(text)


def url_path(text: str) -> str:
    """Read the path of a URL, as requests have it."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not the path of a URL: it must begin with /")
    # RFC 3986 section 3.3; a query and a fragment are not part of it.
    if "?" in text or "#" in text:
        raise ValueError(
            f"{text!r} is not the path of a URL: it must have no query and no fragment"
        )
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError(
            f"{text!r} is not the path of a URL: what is not visible ASCII must be percent-encoded"
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


class OneOf:
    """Reads one of some words.

    Attributes:
        words: All of them.
    """

    def __init__(self, words: tuple[str, ...]) -> None:
        """Read one of these."""
        self.words = words

    def __call__(self, text: str) -> str:
        """Read one."""
        if text not in self.words:
            raise ValueError(f"{text!r} is none of {', '.join(self.words)}")
        return text


class OneOfInAnyCase:
    """Reads one of some words, however it is capitalised.

    Attributes:
        words: All of them, as they are meant.
    """

    def __init__(self, words: tuple[str, ...]) -> None:
        """Read one of these."""
        self.words = words

    def __call__(self, text: str) -> str:
        """Read one."""
        for word in self.words:
            if word.lower() == text.lower():
                return word
        raise ValueError(f"{text!r} is none of {', '.join(self.words)}")


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
