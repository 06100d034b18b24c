"""permessage-deflate: what is agreed on, and what compresses (RFC 7692)."""

import importlib
import random
import sys
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dorrit.protocol import deflate
from dorrit.protocol.deflate import (
    RESTARTS_MAX,
    WINDOW_SIZE,
    Deflate,
    Inflator,
    Policy,
    Terms,
    Window,
    deflate_of,
)
from dorrit.protocol.extensions import parse_extensions
from tests.support.deflating import TAIL, ZlibClient, deflated

NAME = "permessage-deflate"
BARE = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
"""The response of a server that has no wishes."""


def answer(offers: str, **policy: Any) -> str | None:
    terms = Policy(**policy).negotiate(parse_extensions([offers]))
    return None if terms is None else terms.response


# Negotiation


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        (NAME, BARE),
        (f"{NAME}; client_max_window_bits", BARE),
        *((f"{NAME}; client_max_window_bits={bits}", BARE) for bits in range(8, 16)),
        (f'{NAME}; client_max_window_bits="10"', BARE),
        (f"{NAME}; server_no_context_takeover", BARE),
        (f"{NAME}; client_no_context_takeover", BARE),
        *(
            (f"{NAME}; server_max_window_bits={bits}", f"{BARE}; server_max_window_bits={bits}")
            for bits in range(9, 16)
        ),
        (f'{NAME}; server_max_window_bits="12"', f"{BARE}; server_max_window_bits=12"),
        (f"{BARE}; client_max_window_bits; server_max_window_bits=10",
         f"{BARE}; server_max_window_bits=10"),
    ],
)  # fmt: skip
def test_an_offer_is_accepted_with_these_words(offer: str, expected: str) -> None:
    assert answer(offer) == expected


@pytest.mark.parametrize(
    "parameter",
    [
        # Not defined (section 7.1).
        "foo",
        "foo=1",
        "Server_No_Context_Takeover",
        "server_max_window_bit=10",
        # Has a value and must not (sections 7.1.1.1, 7.1.1.2).
        "server_no_context_takeover=1",
        "server_no_context_takeover=true",
        "client_no_context_takeover=1",
        # Has none and must (section 7.1.2.1), or an invalid one.
        "server_max_window_bits",
        *(
            f"{side}_max_window_bits={value}"
            for side in ("server", "client")
            for value in ("0", "7", "16", "08", "010", "+10", "-10", "1e1", "10.0", "0xa", "x")
        ),
        # zlib can't do that.
        "server_max_window_bits=8",
        # There twice.
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits; client_max_window_bits=10",
        "server_max_window_bits=10; server_max_window_bits=10",
    ],
)
def test_an_offer_with_this_is_declined_and_the_next_one_looked_at(parameter: str) -> None:
    assert answer(f"{NAME}; {parameter}") is None
    assert answer(f"{NAME}; {parameter}; client_max_window_bits") is None
    assert answer(f"{NAME}; {parameter}, {NAME}") == BARE


@pytest.mark.parametrize("offers", ["", "x-webkit-deflate-frame", "Permessage-Deflate", "mux"])
def test_nothing_is_agreed_on_without_an_offer_of_it(offers: str) -> None:
    assert answer(offers) is None


def test_the_first_offer_that_will_do_is_taken() -> None:
    offers = f"mux, {NAME}; server_max_window_bits=8, {NAME}; server_max_window_bits=9, {NAME}"
    assert answer(offers) == f"{BARE}; server_max_window_bits=9"


@pytest.mark.parametrize(
    ("policy", "offer", "expected"),
    [
        ({"server_takeover": True}, "", "; client_no_context_takeover"),
        ({"client_takeover": True}, "", "; server_no_context_takeover"),
        ({"server_takeover": True, "client_takeover": True}, "", ""),
        ({"server_takeover": True}, "; server_no_context_takeover",
         "; server_no_context_takeover; client_no_context_takeover"),
        ({"client_takeover": True}, "; client_no_context_takeover",
         "; server_no_context_takeover; client_no_context_takeover"),
        ({"server_takeover": True, "client_takeover": True}, "; client_no_context_takeover",
         "; client_no_context_takeover"),
    ],
)  # fmt: skip
def test_takeover_is_what_both_sides_want(
    policy: dict[str, bool], offer: str, expected: str
) -> None:
    assert answer(NAME + offer, **policy) == NAME + expected


@pytest.mark.parametrize(
    ("window_bits", "offered", "agreed"),
    [(15, None, None), (15, 15, 15), (12, None, 12), (12, 10, 10), (12, 12, 12), (12, 15, 12)],
)
def test_the_window_is_the_smaller_one_and_named_if_anybody_cares(
    window_bits: int, offered: int | None, agreed: int | None
) -> None:
    words = "" if offered is None else f"; server_max_window_bits={offered}"
    named = "" if agreed is None else f"; server_max_window_bits={agreed}"
    assert answer(NAME + words, window_bits=window_bits) == BARE + named
    terms = Policy(window_bits=window_bits).negotiate(parse_extensions([NAME + words]))
    assert terms is not None
    assert deflate_of(terms).window_bits == (agreed or 15)


# Inflating


def inflate(inflator: Inflator, content: bytes, cuts: int, room: int = 1 << 20) -> bytes:
    """A whole message, in pieces of `cuts` bytes."""
    inflated = b""
    for start in range(0, len(content), cuts):
        inflated += inflator.inflate(content[start : start + cuts], room - len(inflated))
    return inflated + inflator.finish(room - len(inflated))


TEXTS = [b"", b"x", b"Hello", b"Hello" * 1000, random.Random(1).randbytes(5000), bytes(100_000)]


@pytest.mark.parametrize("payload", TEXTS, ids=lambda payload: str(len(payload)))
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_a_message_is_inflated_from_pieces_of_any_size(payload: bytes, level: int) -> None:
    content = deflated(payload, level)
    sizes = [7, 1000, 1 << 20] if len(content) > 10_000 else [1, 2, 7, 1000, 1 << 20]
    for cuts in sizes:
        assert inflate(Inflator(), content, cuts) == payload


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # The examples of RFC 7692 section 7.2.3.
        ("f248cdc9c90700", b"Hello"),
        ("f200110000", b"Hello"),
        ("000500faff48656c6c6f00", b"Hello"),
        ("f348cdc9c9070000", b"Hello"),
        ("f248050000 00ffff cac9c907 00".replace(" ", ""), b"Hello"),
        ("00", b""),
    ],
)
def test_the_examples_of_the_standard(content: str, message: bytes) -> None:
    inflator = Inflator()
    if content == "f200110000":
        # Section 7.2.3.2: it refers to the first message.
        assert inflate(inflator, bytes.fromhex("f248cdc9c90700"), 1) == b"Hello"
    for cuts in (1, 3, 100):
        assert inflate(inflator, bytes.fromhex(content), cuts) == message


@pytest.mark.parametrize("size", [1, 2, 100, 65_535, 65_536, 100_000])
@pytest.mark.parametrize("cuts", [1, 1000, 1 << 20])
def test_the_room_is_kept_to_exactly(size: int, cuts: int) -> None:
    content = deflated(bytes(size))
    assert len(inflate(Inflator(), content, cuts, room=size)) == size
    # One byte more than there is room for says that it is too much; that is all that is made.
    inflator = Inflator()
    inflated = 0
    room = size - 1
    for start in range(0, len(content), cuts):
        inflated += len(inflator.inflate(content[start : start + cuts], room - inflated))
        if inflated > room:
            break
    else:
        inflated += len(inflator.finish(room - inflated))
    assert inflated == size


def test_what_a_bomb_becomes_is_never_more_than_the_room_and_one_byte() -> None:
    bomb = deflated(bytes(50_000_000), level=9)
    assert len(bomb) < 50_000
    assert len(Inflator().inflate(bomb, 1000)) == 1001
    assert len(Inflator().inflate(bomb, 0)) == 1


def final_block(payload: bytes) -> bytes:
    """A complete stream, as section 7.2.3.4 allows: its last block has BFINAL."""
    made = zlib.compressobj(6, zlib.DEFLATED, -15)
    return made.compress(payload) + made.flush()


@pytest.mark.parametrize("cuts", [1, 2, 5, 1000])
def test_final_blocks_do_not_end_a_message(cuts: int) -> None:
    inflator = Inflator()
    # Section 7.2.3.4: one byte of 0 follows the last one.
    content = final_block(b"one") + final_block(b"") + final_block(b"two" * 100) + b"\0"
    assert inflate(inflator, content, cuts) == b"one" + b"two" * 100
    mixed = final_block(b"one") + deflated(b"two")
    assert inflate(inflator, mixed, cuts) == b"onetwo"


@pytest.mark.parametrize("cuts", [1, 1000])
def test_the_room_is_kept_to_behind_final_blocks(cuts: int) -> None:
    content = final_block(bytes(60)) + final_block(bytes(40)) + b"\0"
    assert len(inflate(Inflator(), content, cuts, room=100)) == 100
    assert len(Inflator().inflate(content, 99)) == 100
    assert len(Inflator().inflate(content, 60)) == 61
    assert len(Inflator().inflate(content, 10)) == 11


@pytest.mark.parametrize("cuts", [1, 1000])
def test_final_blocks_in_one_message_are_limited(cuts: int) -> None:
    inflator = Inflator()
    for _ in range(3):  # each message may have as many
        most = final_block(b"x") * RESTARTS_MAX + b"\0"
        assert inflate(inflator, most, cuts) == b"x" * RESTARTS_MAX
    with pytest.raises(ValueError, match="too many final blocks"):
        inflate(inflator, final_block(b"x") * (RESTARTS_MAX + 1) + b"\0", cuts)


@pytest.mark.parametrize(
    "garbage", [b"\x07", b"\xff" * 10, b"Hello", b"\x00\x05\x00\x00\x00Hello", b"\x06\xff\xff\xff"]
)
def test_garbage_is_a_value_error(garbage: bytes) -> None:
    with pytest.raises(ValueError):
        inflate(Inflator(), garbage, 100)
    with pytest.raises(ValueError):
        inflate(Inflator(), garbage, 1)


def test_a_reference_to_before_the_message_is_an_error_without_takeover() -> None:
    client = ZlibClient(out_takeover=True)
    first, second = client.deflate(b"Hello" * 10), client.deflate(b"Hello" * 10)
    inflator = Inflator()
    assert inflate(inflator, first, 3) == inflate(inflator, second, 3) == b"Hello" * 10
    with pytest.raises(ValueError, match="invalid distance"):
        inflate(Inflator(), second, 3)


@given(st.binary(max_size=200), st.integers(1, 50), st.integers(0, 3000))
@settings(max_examples=300, deadline=None)
def test_anything_at_all_is_bounded_and_a_value_error_at_worst(
    content: bytes, cuts: int, room: int
) -> None:
    inflator = Inflator()
    inflated = 0
    try:
        for start in range(0, len(content), cuts):
            inflated += len(inflator.inflate(content[start : start + cuts], room - inflated))
            if inflated > room:
                break
        else:
            inflated += len(inflator.finish(room - inflated))
    except ValueError:
        pass
    assert inflated <= room + 1


# Deflating, with either library


@pytest.fixture(params=["isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What compresses: ISA-L, or zlib where it is not installed."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    monkeypatch.setattr(deflate, "new_compressor", deflate._compressors())
    return str(request.param)


def test_the_library_is_the_one_that_the_test_says(library: str) -> None:
    made = type(deflate.new_compressor(15))
    isal = importlib.import_module("isal.isal_zlib") if library == "isal" else None
    expected = zlib if isal is None else isal
    assert made is type(expected.compressobj())


def terms_of(**changes: Any) -> Terms:
    terms = {
        "server_takeover": False,
        "client_takeover": False,
        "server_max_window_bits": 15,
        "says_window": False,
    }
    return Terms(**{**terms, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("window_bits", range(9, 16))
@pytest.mark.parametrize("takeover", [False, True])
def test_a_client_with_this_window_understands_every_message(
    library: str, window_bits: int, takeover: bool
) -> None:
    made = Deflate(terms_of(server_takeover=takeover, server_max_window_bits=window_bits))
    client = ZlibClient(in_takeover=takeover, in_bits=window_bits)
    noise = random.Random(window_bits).randbytes(700)
    far_apart = noise + bytes(40_000) + noise
    for payload in (*TEXTS, b"", noise * 5, far_apart, far_apart, b"x", b""):
        content = made.deflate(payload)
        assert content
        assert client.inflate(content) == payload


def test_the_tail_is_left_out_and_an_empty_message_is_not_nothing(library: str) -> None:
    for takeover in (False, True):
        made = Deflate(terms_of(server_takeover=takeover))
        for payload in (b"Hello", b"x" * 1000, b"y" * 100_000):
            assert not made.deflate(payload).endswith(TAIL)
            # Section 7.2.3.6, also behind a message of which nothing is left to be flushed. ISA-L
            # makes an empty block of its own first.
            assert made.deflate(b"") in ({b"\x00"} if library == "zlib" else {b"\x00", b"\x02\x00"})


def test_what_refers_to_earlier_messages_becomes_smaller(library: str) -> None:
    payload = random.Random(2).randbytes(2000)
    alone, joined = Deflate(terms_of()), Deflate(terms_of(server_takeover=True))
    assert len(alone.deflate(payload)) == len(alone.deflate(payload)) > len(payload)
    assert len(joined.deflate(payload)) > len(payload) > 10 * len(joined.deflate(payload))


def test_what_can_not_be_compressed_grows_by_less_than_what_is_kept_free_for_it(
    library: str,
) -> None:
    """`Connection.has_place` relies on it: what a takeover has compressed must find its place."""
    source = random.Random(3)
    skewed = bytes(144 + byte % 112 for byte in source.randbytes(200_000))
    for window_bits in range(9, 16):
        made = Deflate(terms_of(server_takeover=True, server_max_window_bits=window_bits))
        for size in (0, 1, 5, 100, 1000, 16_383, 16_384, 70_000, 200_000):
            for payload in (source.randbytes(size), skewed[:size]):
                assert len(made.deflate(payload)) <= size + size // 8 + 64


def test_stateless_connections_share_what_compresses() -> None:
    assert deflate_of(terms_of()) is deflate_of(terms_of())
    assert deflate_of(terms_of()) is not deflate_of(terms_of(server_max_window_bits=10))
    assert not deflate_of(terms_of()).keeps_state
    assert not deflate_of(terms_of()).keeps_inflator


@pytest.mark.parametrize(("server", "client"), [(True, False), (False, True), (True, True)])
def test_what_keeps_state_is_each_connection_s_own(server: bool, client: bool) -> None:
    terms = terms_of(server_takeover=server, client_takeover=client)
    one, other = deflate_of(terms), deflate_of(terms)
    assert one is not other
    assert (one.keeps_state, one.keeps_inflator) == (server, client)
    assert (one.inflator() is one.inflator()) is client
    assert one.inflator() is not other.inflator()


messages = st.lists(
    st.one_of(
        st.binary(max_size=300),
        st.builds(bytes.__mul__, st.binary(min_size=1, max_size=20), st.integers(0, 5000)),
    ),
    max_size=6,
)


@given(messages, st.tuples(st.booleans(), st.booleans()), st.integers(9, 15), st.integers(1, 3000))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_messages_go_there_and_back_in_order(
    library: str, sent: list[bytes], takeovers: tuple[bool, bool], window_bits: int, cuts: int
) -> None:
    server_takeover, client_takeover = takeovers
    terms = terms_of(
        server_takeover=server_takeover,
        client_takeover=client_takeover,
        server_max_window_bits=window_bits,
    )
    made = Deflate(terms)
    client = ZlibClient(
        out_takeover=client_takeover, in_takeover=server_takeover, in_bits=window_bits
    )
    for payload in sent:
        assert client.inflate(made.deflate(payload)) == payload
        content = client.deflate(payload)
        cuts_here = max(cuts, len(content) // 50 + 1)
        assert inflate(made.inflator(), content, cuts_here) == payload


# What another inflator goes on from


@pytest.mark.parametrize("size", [10, 20_000, WINDOW_SIZE, 100_000])
def test_another_inflator_goes_on_with_what_a_client_has_said(size: int) -> None:
    chance = random.Random(size)
    compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
    window = Window()
    said = b""
    for index in range(6):
        message = chance.randbytes(size // 2) + said[-size // 2 :] + b"%d" % index
        said += message
        sent = (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(
            TAIL
        )
        half = len(sent) // 2
        # A part of the message is inflated by one that is given up, and once more by the next one.
        Inflator(window).inflate(sent[:half], 1 << 20)
        window = Window(window.past)
        inflator = Inflator(window)
        # In pieces, which are more than the window together.
        piece = len(sent) // 5 + 1
        pieces = [sent[start : start + piece] for start in range(0, len(sent), piece)]
        inflated = b"".join(inflator.inflate(each, 1 << 20) for each in pieces)
        assert inflated + inflator.finish(1 << 20) == message
        assert window.past == said[-WINDOW_SIZE:]


def test_the_window_is_that_of_a_client_that_may_refer_to_it() -> None:
    window = Window()
    assert deflate_of(terms_of(client_takeover=True), window).window is window
    assert deflate_of(terms_of(client_takeover=True)).window is None
    assert deflate_of(terms_of(server_takeover=True), window).window is None
