"""Reject: how an open handler answers a client that it does not accept."""

from collections.abc import Iterable, Mapping
from typing import Final

from dorrit.errors import DorritError
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, TEXT, Refusal, refusal

REASON: Final = OPEN_CALLBACK_REFUSED[1]


class Reject(DorritError):  # noqa: N818 - it is an answer, more than an error
    """Raised in an open handler, to refuse the client with an HTTP response.

    ``return False`` there is short for ``raise Reject(403)``.

    Attributes:
        status: The HTTP status code.
    """

    def __init__(
        self,
        status: int = 403,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: str | bytes | None = None,
    ) -> None:
        """Describe the response.

        Args:
            status: The HTTP status code, 300 to 599.
            headers: Header fields, such as ``WWW-Authenticate`` with 401 or ``Location`` with a
                redirection.
            body: The content; a str is sent as UTF-8. None: a line that names the status. Its
                ``Content-Type`` is ``text/plain; charset=utf-8``, unless `headers` has another.

        Raises:
            TypeError: The status is not an int, a header field is not a pair of str, or the body is
                of another type.
            ValueError: The status is out of range, a header field can't be sent, or there is a body
                and the status is 304, which allows none.
        """
        # What is wrong is said here, where the traceback shows who has said it. Values are not
        # repeated: they may be the client's, and this goes to the log.
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError(f"status must be an int, not {type(status).__name__}")
        if not isinstance(body, str | bytes | None):
            raise TypeError(f"body must be str, bytes or None, not {type(body).__name__}")
        pairs = _pairs_of(headers)
        types = [value for name, value in pairs if name.lower() == "content-type"]
        self.status: int = int(status)  # not HTTPStatus.FORBIDDEN, which prints otherwise
        self._refusal = refusal(
            self.status,
            REASON,
            headers=tuple(pair for pair in pairs if pair[0].lower() != "content-type"),
            content=_encoded(body) if isinstance(body, str) else body,
            content_type=types[0] if types else TEXT,
        )
        super().__init__(f"refused with {self.status}")


def _pairs_of(
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
) -> tuple[tuple[str, str], ...]:
    """Return header fields as pairs, which they are if they have the right types."""
    pairs: list[tuple[str, str]] = []
    if isinstance(headers, str | bytes) or not isinstance(headers, Iterable):
        raise TypeError(
            f"headers must be a mapping or pairs of names and values, not {type(headers).__name__}"
        )
    for pair in headers.items() if isinstance(headers, Mapping) else headers:
        match pair:
            case (name, value):
                pass
            case _:
                raise TypeError(
                    f"headers must be pairs of a name and a value, not {type(pair).__name__}"
                )
        if not isinstance(name, str):
            raise TypeError(f"the name of a header field must be a str, not {type(name).__name__}")
        if not isinstance(value, str):
            raise TypeError(f"the header field {name!r} must be a str, not {type(value).__name__}")
        pairs.append((name, value))
    return tuple(pairs)


def _encoded(body: str) -> bytes:
    try:
        return body.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"body can't be encoded: {error.reason}") from None


def refusal_of(reject: Reject) -> Refusal:
    """Return a rejection as the engine takes it.

    Raises:
        TypeError: It is of a class that has left out what `Reject` does when it is made.
    """
    answer: Refusal | None = getattr(reject, "_refusal", None)
    if answer is None:
        raise TypeError(f"{type(reject).__name__}.__init__ must call super().__init__(status, ...)")
    return answer
