"""The header field Sec-WebSocket-Extensions (RFC 6455 section 9.1)."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from dorrit.protocol.refusal import TCHARS

# extension = extension-token *( ";" extension-param )
# extension-param = token [ "=" (token | quoted-string) ]
# "When using the quoted-string syntax variant, the value after quoted-string unescaping MUST
# conform to the 'token' ABNF."
#
# No quantifier can backtrack: each is possessive.
_NAME: Final = re.compile(rf"[ \t]*+({TCHARS})[ \t]*+")
_PARAMETER: Final = re.compile(
    rf"""[ \t]*+({TCHARS})[ \t]*+(?:=[ \t]*+(?:({TCHARS})|"((?:[^"\\]|\\.)*+)")[ \t]*+)?+"""
)
_TOKEN: Final = re.compile(TCHARS)
_NOTHING: Final = re.compile(r"[ \t]*+")


class Extension(NamedTuple):
    """One offer of a client.

    Attributes:
        name: What it is called.
        parameters: Names and values in order; None for one without a value.
    """

    name: str
    parameters: tuple[tuple[str, str | None], ...]


def parse_extensions(lines: Iterable[str]) -> list[Extension]:
    """Return what a client offers, in its order of preference.

    Args:
        lines: The values of all field lines, in order.

    Raises:
        ValueError: It is malformed.
    """
    return [extension for line in lines for extension in _parse_line(line)]


def _parse_line(line: str) -> Iterable[Extension]:
    position = 0
    while True:
        # RFC 9110 section 5.6.1.2: a list may have empty elements.
        position = _end_of(_NOTHING.match(line, position))
        if position < len(line) and line[position] != ",":
            name = _NAME.match(line, position)
            position = _end_of(name)
            assert name is not None
            parameters = []
            while position < len(line) and line[position] == ";":
                parameter = _PARAMETER.match(line, position + 1)
                position = _end_of(parameter)
                assert parameter is not None
                parameters.append((parameter[1], _value_of(parameter)))
            yield Extension(name[1], tuple(parameters))
        if position == len(line):
            return
        if line[position] != ",":
            raise ValueError("the Sec-WebSocket-Extensions field is malformed")
        position += 1


def _end_of(match: re.Match[str] | None) -> int:
    if match is None:
        raise ValueError("the Sec-WebSocket-Extensions field is malformed")
    return match.end()


def _value_of(parameter: re.Match[str]) -> str | None:
    _, token, quoted = parameter.groups()
    if quoted is None:
        return token
    value = re.sub(r"\\(.)", r"\1", quoted)
    if not _TOKEN.fullmatch(value):
        raise ValueError(
            "the Sec-WebSocket-Extensions field has a quoted value that is not a token"
        )
    return value
