"""Reject: how an open callback answers a client that it does not accept."""

from collections.abc import Iterable, Mapping
from typing import Final

from dorrit.errors import DorritError
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, TEXT, Refusal, refusal

REASON: Final = OPEN_CALLBACK_REFUSED[1]


class Reject(DorritError):  # noqa: N818 - it is an answer, more than an error
    """Raised in an open callback, to refuse the client with an HTTP response.

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
            ValueError: The status is out of range, or a header field can't be sent.
        """
        pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        types = [value for name, value in pairs if name.lower() == "content-type"]
        self.status = status
        self._refusal = refusal(
            status,
            REASON,
            headers=tuple(pair for pair in pairs if pair[0].lower() != "content-type"),
            content=body.encode() if isinstance(body, str) else body,
            content_type=types[0] if types else TEXT,
        )
        super().__init__(f"refused with {status}")


def refusal_of(reject: Reject) -> Refusal:
    """Return a rejection as the engine takes it."""
    return reject._refusal  # noqa: SLF001 - the API's own, which users need not see
