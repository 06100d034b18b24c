"""What is said to somebody who does not speak HTTP to the socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorrit.protocol.diagnosis import diagnose
from dorrit.protocol.handshake import Refusal, parse_request
from tests.support.frames import REQUEST, frame

PROXY_2 = b"\r\n\r\n\x00\r\nQUIT\n"

# First bytes as real programs send them, a word of the diagnosis, and a word of the hint.
SPEECHES = {
    "PROXY protocol 1": (
        b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\r\n",
        "the PROXY protocol",
        "send-proxy",
    ),
    "PROXY protocol 1, unknown": (b"PROXY UNKNOWN\r\n", "the PROXY protocol", "turn it off"),
    "PROXY protocol 2": (
        PROXY_2 + b"\x21\x11\x00\x0c\xcb\x00\x71\x07\xc0\x00\x02\x01\xc3\x50\x01\xbb",
        "the PROXY protocol",
        "send-proxy-v2",
    ),
    "PROXY protocol 2, local": (PROXY_2 + b"\x20\x00\x00\x00", "the PROXY protocol", "turn it off"),
    "TLS 1.3": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), "TLS", "http://"),
    "FastCGI": (b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01", "FastCGI", "proxy_pass"),
    "uwsgi": (b"\x00\x91\x01\x00\x0c\x00QUERY_STRING\x00\x00", "uwsgi", "proxy_pass"),
    "SCGI": (b"70:CONTENT_LENGTH\x000\x00SCGI\x001\x00", "SCGI", "proxy_pass"),
    "AJP": (b"\x12\x34\x00\x10\x02\x02", "AJP", "http://"),
    "HTTP/0.9": (b"GET /\r\n", "HTTP/0.9", "HTTP/1.1"),
    "a frame": (frame(0x1, b"hello"), "bytes that no HTTP request has", "HTTP/1.1"),
    "a space": (b" GET / HTTP/1.1\r\n", "bytes that no HTTP request has", "HTTP/1.1"),
    "lines that end with LF": (b"GET / HTTP/1.1\nHost: a\n\n", "not part of a CRLF", ""),
    "lines that end with CR": (b"GET / HTTP/1.1\rHost: a\r\r", "not part of a CRLF", ""),
}


@pytest.mark.parametrize("name", SPEECHES)
def test_it_is_named_with_what_to_do_in_the_log_and_to_the_client(name: str) -> None:
    data, reason, hint = SPEECHES[name]
    answer = diagnose(data)
    assert isinstance(answer, Refusal)
    assert answer.status == 400
    assert reason in answer.reason
    assert hint in answer.hint
    assert reason.encode() in answer.response()
    assert str(answer).isascii()
    assert str(answer).isprintable()


@pytest.mark.parametrize("name", SPEECHES)
def test_it_is_named_with_a_whole_request_behind_it_as_well(name: str) -> None:
    data, reason, _hint = SPEECHES[name]
    with pytest.raises(Refusal) as caught:
        parse_request(data + REQUEST)
    assert reason in caught.value.reason or name == "HTTP/0.9"


@pytest.mark.parametrize("length", range(len(REQUEST)))
@pytest.mark.parametrize("before", [b"", b"\r\n"])
def test_the_beginning_of_a_request_is_none_of_them(before: bytes, length: int) -> None:
    assert diagnose((before + REQUEST)[:length]) is None


@pytest.mark.parametrize("length", range(len(PROXY_2)))
def test_the_beginning_of_the_proxy_protocol_is_waited_for(length: int) -> None:
    assert diagnose(PROXY_2[:length]) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_a_diagnosis_or_none(data: bytes) -> None:
    answer = diagnose(data)
    assert answer is None or answer.response().startswith(b"HTTP/1.1 400 ")
