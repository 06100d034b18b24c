"""permessage-deflate: compressed messages (RFC 7692).

By default neither side refers to what it has compressed before, so that an idle connection keeps no
state of a compressor, and what is compressed for one client is right for every other.
"""

import functools
import importlib
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from dorrit.protocol.extensions import Extension

NAME: Final = "permessage-deflate"

WINDOW_BITS_MIN: Final = 9
"""zlib can't make a raw stream with a window of 2^8 bytes, which RFC 7692 lets a client ask for."""

WINDOW_BITS_MAX: Final = 15

LEVEL: Final = 1
"""How hard to try. Everybody waits while one message is compressed; see docs/design.md."""

WINDOW_SIZE: Final = 1 << WINDOW_BITS_MAX
"""Bytes that compressed data may refer to before itself."""

RESTARTS_MAX: Final = 64
"""Final blocks in one message. One is rare, and each costs a new decompressor."""

# RFC 7692 section 7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end."
_TAIL: Final = b"\x00\x00\xff\xff"


def _compressors() -> Callable[[int], Any]:
    """Return what makes a compressor for a window: ISA-L, which is faster, where it is there."""
    try:
        isal_zlib = importlib.import_module("isal.isal_zlib")
    except ImportError:
        return lambda bits: zlib.compressobj(LEVEL, zlib.DEFLATED, -bits)
    return lambda bits: isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -bits)


new_compressor: Final = _compressors()


class Terms(NamedTuple):
    """What client and server have agreed on (RFC 7692 section 7.1).

    Attributes:
        server_takeover: The server's messages may refer to earlier ones of its own.
        client_takeover: The client's may.
        server_max_window_bits: The server's window, as the power of two.
        says_window: The response names the server's window.
    """

    server_takeover: bool
    client_takeover: bool
    server_max_window_bits: int
    says_window: bool

    @property
    def response(self) -> str:
        """The value of Sec-WebSocket-Extensions in the response."""
        words = [NAME]
        if not self.server_takeover:
            words.append("server_no_context_takeover")
        if not self.client_takeover:
            words.append("client_no_context_takeover")
        if self.says_window:
            words.append(f"server_max_window_bits={self.server_max_window_bits}")
        return "; ".join(words)


class Policy(NamedTuple):
    """What the server wants.

    Attributes:
        server_takeover: Messages of the server may refer to earlier ones.
        client_takeover: Messages of a client may.
        window_bits: The server's window, 9 to 15; a client may ask for less.
    """

    server_takeover: bool = False
    client_takeover: bool = False
    window_bits: int = WINDOW_BITS_MAX

    def negotiate(self, offers: Iterable[Extension]) -> Terms | None:
        """Return the terms of the first offer that can be accepted, or None.

        Section 5: "a client MAY list multiple configurations [...] the server selects" one; those
        that can't be accepted are passed over.
        """
        for offer in offers:
            if offer.name == NAME:
                terms = self._accept(dict(offer.parameters), len(offer.parameters))
                if terms is not None:
                    return terms
        return None

    def _accept(self, offered: dict[str, str | None], count: int) -> Terms | None:
        # Section 7.1: "A server MUST decline an extension negotiation offer for this extension if
        # any of the following conditions are met": a parameter that is not defined, has an invalid
        # value, or is there twice.
        if len(offered) != count or offered.keys() - _PARAMETERS:
            return None
        if any(offered.get(name) is not None for name in _WITHOUT_VALUE):
            return None
        bits = WINDOW_BITS_MAX
        if "server_max_window_bits" in offered:
            bits = _WINDOW_BITS.get(offered["server_max_window_bits"] or "", 0)
            if bits < WINDOW_BITS_MIN:
                return None
        # Section 7.1.2.2: it "may" have a value, which is the client's own business.
        hint = offered.get("client_max_window_bits")
        if hint is not None and hint not in _WINDOW_BITS:
            return None
        return Terms(
            self.server_takeover and "server_no_context_takeover" not in offered,
            self.client_takeover and "client_no_context_takeover" not in offered,
            min(bits, self.window_bits),
            "server_max_window_bits" in offered or self.window_bits < WINDOW_BITS_MAX,
        )


_WITHOUT_VALUE: Final = frozenset({"server_no_context_takeover", "client_no_context_takeover"})
_PARAMETERS: Final = _WITHOUT_VALUE | {"server_max_window_bits", "client_max_window_bits"}
# Section 7.1.2.1: "a decimal integer value without leading zeroes between 8 to 15 inclusive".
_WINDOW_BITS: Final = {str(bits): bits for bits in range(8, WINDOW_BITS_MAX + 1)}


class Window:
    """The end of what the earlier messages of a client have said.

    What it compresses may refer to that, so that another inflator can go on from there.
    """

    __slots__ = ("_message", "_past")

    def __init__(self, past: bytes = b"") -> None:
        """Begin with what another one has had."""
        self._past = bytearray(past)
        self._message = bytearray()

    def add(self, inflated: bytes) -> None:
        """Take what a piece of the message under way has become."""
        self._message += inflated[-WINDOW_SIZE:]
        if len(self._message) > 2 * WINDOW_SIZE:
            del self._message[:-WINDOW_SIZE]

    def end_message(self) -> None:
        """Count the message among the earlier ones."""
        self._past += self._message
        self._message.clear()
        if len(self._past) > 2 * WINDOW_SIZE:
            del self._past[:-WINDOW_SIZE]

    @property
    def past(self) -> bytes:
        """What has been said before the message that is under way."""
        return bytes(self._past[-WINDOW_SIZE:])


class Inflator:
    """Decompresses messages, in pieces: of one client, or of one message.

    Attributes:
        restarts: Final blocks that it has gone on after, in all of its life.
    """

    __slots__ = ("_most_restarts", "_stream", "_window", "restarts")

    def __init__(self, window: Window | None = None) -> None:
        """Begin without a past, or with one.

        Args:
            window: What has been said before, which is gone on with; None: that is not kept.
        """
        self._stream = zlib.decompressobj(
            -WINDOW_BITS_MAX, zdict=b"" if window is None else window.past
        )
        self._window = window
        self.restarts: int = 0
        self._most_restarts = RESTARTS_MAX

    def inflate(self, piece: bytes, room: int) -> bytes:
        """Return what a piece becomes.

        Args:
            piece: The next part of a message.
            room: Bytes that it may become. If it becomes more, one more than these is returned, and
                the inflator can't be used any longer.

        Raises:
            ValueError: It is not compressed data.
        """
        try:
            inflated = self._stream.decompress(piece, room + 1)
            # Section 7.2.3.4 allows a final block, with which a stream of zlib's ends. What follows
            # is another one.
            while self._stream.eof and len(inflated) <= room:
                self.restarts += 1
                if self.restarts > self._most_restarts:
                    raise ValueError("too many final blocks")
                rest = self._stream.unused_data
                self._stream = zlib.decompressobj(-WINDOW_BITS_MAX)
                inflated += self._stream.decompress(rest, room - len(inflated) + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if self._window is not None:
            self._window.add(inflated)
        return inflated

    def finish(self, room: int) -> bytes:
        """Return what is left of a message whose last piece has come; see `inflate`.

        Section 7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload".
        """
        inflated = self.inflate(_TAIL, room)
        self._most_restarts = self.restarts + RESTARTS_MAX
        if self._window is not None:
            self._window.end_message()
        return inflated


class Deflate:
    """Compression on the terms that were agreed on with a client.

    Attributes:
        window_bits: The server's window.
        keeps_state: What it compresses is for this client only, and in this order.
        keeps_inflator: So is what it decompresses with.
        window: What the client's messages may refer to; None: that is not kept.
    """

    __slots__ = (
        "_compressor", "_inflator", "keeps_inflator", "keeps_state", "window", "window_bits",
    )  # fmt: skip

    def __init__(self, terms: Terms, window: Window | None = None) -> None:
        """Begin without a past, or with that of the client; `deflate_of` makes it."""
        self.window_bits: int = terms.server_max_window_bits
        self.keeps_state: bool = terms.server_takeover
        self.keeps_inflator: bool = terms.client_takeover
        self._compressor = new_compressor(self.window_bits) if terms.server_takeover else None
        self.window: Window | None = window if terms.client_takeover else None
        self._inflator = Inflator(self.window) if terms.client_takeover else None

    def inflator(self) -> Inflator:
        """Return what decompresses the next message of the client."""
        return Inflator() if self._inflator is None else self._inflator

    def deflate(self, payload: bytes) -> bytes:
        """Return a message as it is sent (section 7.2.1)."""
        compressor = self._compressor or new_compressor(self.window_bits)
        flushed: bytes = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        # Section 7.2.3.6: an empty message is one byte. A compressor that has just been flushed
        # says nothing.
        return flushed.removesuffix(_TAIL) or b"\x00"


def deflate_of(terms: Terms, window: Window | None = None) -> Deflate:
    """Return what compresses for a client: one object for all with the same terms and no state.

    Args:
        terms: What was agreed on.
        window: What the client has said before, which is gone on with; None: that is not kept.
    """
    if terms.server_takeover or terms.client_takeover:
        return Deflate(terms, window)
    return _stateless(terms)


@functools.cache
def _stateless(terms: Terms) -> Deflate:
    return Deflate(terms)
