"""What the next image gets of a request: its head, and the subprotocol agreed on."""

import pytest

from dorrit.engine.kept_head import kept_of, split, with_subprotocol
from dorrit.protocol.handshake import parse_request
from tests.support.frames import REQUEST

OFFERING = REQUEST[:-2] + b"Sec-WebSocket-Protocol: a, b\r\n\r\n"


def test_L5_a_head_alone_stands_for_itself() -> None:
    assert split(REQUEST) == (REQUEST, None)


@pytest.mark.parametrize("subprotocol", ["b", "x" * 300, "!#$%&'*+-.^_`|~"])
def test_L5_a_subprotocol_comes_back_with_its_head(subprotocol: str) -> None:
    assert split(with_subprotocol(REQUEST, subprotocol)) == (REQUEST, subprotocol)


def test_L5_of_a_request_that_was_kept_the_head_is_made_anew() -> None:
    request = parse_request(OFFERING)
    head, subprotocol = split(kept_of(request))
    assert subprotocol is None
    assert parse_request(head).headers.pairs == request.headers.pairs
    request.select("b")
    head, subprotocol = split(kept_of(request))
    assert subprotocol == "b"
    assert parse_request(head).key == request.key


@pytest.mark.parametrize("kept", [b"\0", b"\0\0", b"\0\0\2a", b"\0\xff\xffa", b"\0\0\1\xff"])
def test_L8_what_is_not_whole_is_refused(kept: bytes) -> None:
    with pytest.raises(ValueError, match=r"not whole|ascii"):
        split(kept)
