"""Named values of a request, of which a name may stand there more than once."""

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qsl


class Fields(Mapping[str, str]):
    """Names and values in the order in which they were sent, repeated names included.

    As a mapping it has each name once. It can't be changed. Its `repr` shows the names only: values
    may be secrets.

    Attributes:
        pairs: All names and values, in order.
    """

    __slots__ = ("_by_name", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        """Take the names and values; they are not looked at before somebody asks."""
        self.pairs: tuple[tuple[str, str], ...] = tuple(pairs)
        self._by_name: dict[str, list[str]] | None = None

    @staticmethod
    def _key(name: str) -> str:
        """Return what names are compared by."""
        return name

    @staticmethod
    def _value(key: str, values: list[str]) -> str:  # noqa: ARG004 - Headers asks for it
        """Return the one value of a name that may have several."""
        return values[0]

    def _index(self) -> dict[str, list[str]]:
        if self._by_name is None:
            self._by_name = {}
            for name, value in self.pairs:
                self._by_name.setdefault(self._key(name), []).append(value)
        return self._by_name

    def get_all(self, name: str) -> list[str]:
        """Return all values of a name, in order; none if it is not there."""
        return list(self._index().get(self._key(name), ()))

    def __getitem__(self, name: str) -> str:
        """Return the value of a name.

        Raises:
            KeyError: It is not there.
        """
        key = self._key(name)
        values = self._index().get(key)
        if values is None:
            raise KeyError(name)
        return self._value(key, values)

    def __iter__(self) -> Iterator[str]:
        """Return each name once, as it was sent first."""
        seen = set()
        for name, _ in self.pairs:
            key = self._key(name)
            if key not in seen:
                seen.add(key)
                yield name

    def __len__(self) -> int:
        """Return the number of different names."""
        return len(self._index())

    def __eq__(self, other: object) -> bool:
        """Tell whether the same pairs stand there in the same order."""
        return self.pairs == other.pairs if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        """Return a hash of the pairs."""
        return hash(self.pairs)

    def __repr__(self) -> str:
        """Return the names."""
        return f"<{type(self).__name__} {', '.join(self)}>"


class Headers(Fields):
    """The header fields of a request. Names are the same in any case of letters.

    RFC 9110 section 5.3: "A recipient MAY combine multiple field lines within a field section that
    have the same field name into one field line [...] by appending each subsequent field line value
    to the initial field line value in order, separated by a comma (",") and optional whitespace".
    So does ``headers["name"]``; `get_all` returns them one by one.
    """

    __slots__ = ()

    @staticmethod
    def _key(name: str) -> str:
        return name.lower()

    @staticmethod
    def _value(key: str, values: list[str]) -> str:
        # RFC 9113 section 8.2.3: cookie lines "MUST be concatenated into a single octet string
        # using the two-octet delimiter of 0x3b, 0x20 (the ASCII string "; ")".
        return ("; " if key == "cookie" else ", ").join(values)


class Query(Fields):
    """The query of a request's target: ``?room=7&user=Ann``, decoded.

    ``query["room"]`` is the first of that name. A name without a value has an empty one. Escapes
    that are not UTF-8 become U+FFFD.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Query":
        """Read the part of a target behind the question mark."""
        return cls(parse_qsl(text, keep_blank_values=True, errors="replace"))
