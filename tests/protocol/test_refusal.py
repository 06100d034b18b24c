"""The HTTP answers that refuse a handshake, as an HTTP client reads them (R2)."""

import h11
import pytest

from dorrit.protocol.handshake import (
    HANDSHAKE_DEADLINE,
    HEAD_TOO_LARGE,
    OPEN_CALLBACK_RAISED,
    OPEN_CALLBACK_REFUSED,
    TOO_MANY_CONNECTIONS,
    Refusal,
    refusal,
)
from dorrit.protocol.refusal import bad_request, head_too_large, origin_refused, peer_refused


def read(answer: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    """Return the answer as h11 reads it, which must be whole and close the connection."""
    client = h11.Connection(h11.CLIENT)
    client.send(
        h11.Request(
            method=method,
            target="/",
            headers=[("Host", "a"), ("Connection", "Upgrade"), ("Upgrade", "websocket")],
        )
    )
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response)
    content = b""
    while isinstance(event := client.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.their_state is h11.MUST_CLOSE
    assert isinstance(client.next_event(), h11.ConnectionClosed)
    return response, content


@pytest.mark.parametrize(
    "status", [400, 401, 403, 405, 408, 414, 426, 429, 431, 499, 500, 503, 505]
)
def test_R2_an_answer_is_whole_plain_text_and_closes_the_connection(status: int) -> None:
    response, content = read(refusal(status, "why", "how").response())
    headers = dict(response.headers)
    assert response.status_code == status
    assert response.http_version == b"1.1"
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert headers[b"content-length"] == str(len(content)).encode()
    assert content.startswith(str(status).encode())
    assert content.isascii()
    assert len(content) < 200


@pytest.mark.parametrize("status", [400, 403, 500])
def test_R2_the_reason_and_the_hint_are_for_the_log_only(status: int) -> None:
    error = refusal(status, "the reason", "the hint")
    assert b"the reason" not in error.response()
    assert b"the hint" not in error.response()
    assert str(error) == f"{status} the reason (the hint)"
    assert str(refusal(status, "the reason")) == f"{status} the reason"


@pytest.mark.parametrize("status", [403, 405, 408, 414, 426, 431, 500, 503, 505])
def test_R2_the_content_of_an_answer_says_in_a_sentence_what_is_wrong(status: int) -> None:
    title, advice, end = read(refusal(status, "why").response())[1].decode().split("\n")
    assert title.startswith(f"{status} ")
    assert advice.endswith(".")
    assert end == ""


def test_R2_the_whole_of_a_400_is_as_expected() -> None:
    assert refusal(400, "why").response() == (
        b"HTTP/1.1 400 Bad Request\r\n"
        b"Connection: close\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 16\r\n"
        b"\r\n"
        b"400 Bad Request\n"
    )


def test_R2_a_405_names_the_method_allowed() -> None:
    assert dict(read(refusal(405, "why").response())[0].headers)[b"allow"] == b"GET"


def test_R2_a_426_names_protocol_and_version_and_has_upgrade_as_a_connection_option() -> None:
    headers = dict(read(refusal(426, "why").response())[0].headers)
    assert headers[b"upgrade"] == b"websocket"
    assert headers[b"sec-websocket-version"] == b"13"
    assert headers[b"connection"] == b"close, upgrade"


@pytest.mark.parametrize("status", [400, 405, 503])
def test_R2_other_answers_have_close_as_their_only_connection_option(status: int) -> None:
    assert dict(read(refusal(status, "why").response())[0].headers)[b"connection"] == b"close"


def test_R2_an_answer_to_head_has_no_content_and_the_length_that_get_would_have() -> None:
    response, content = read(refusal(405, "why", send_content=False).response(), method="HEAD")
    assert content == b""
    for_get = refusal(405, "why").response()
    expected = for_get[for_get.index(b"\r\n\r\n") + 4 :]
    assert dict(response.headers)[b"content-length"] == str(len(expected)).encode()


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (HEAD_TOO_LARGE, 431),
        (HANDSHAKE_DEADLINE, 408),
        (TOO_MANY_CONNECTIONS, 503),
        (OPEN_CALLBACK_REFUSED, 403),
        (OPEN_CALLBACK_RAISED, 500),
    ],
)
def test_R2_each_refusal_of_the_engine_has_its_status_and_a_reason(
    row: tuple[int, str], status: int
) -> None:
    error = refusal(*row)
    assert isinstance(error, Refusal)
    assert error.status == status
    assert error.reason
    assert error.response() == Refusal(status, "", headers=error.headers).response()
    assert read(error.response())[0].status_code == status


def test_R32_the_refusal_of_one_connection_too_many_names_the_option_to_raise() -> None:
    assert "--max-connections" in refusal(*TOO_MANY_CONNECTIONS).hint


def test_R2_further_headers_are_sent_after_those_of_the_status() -> None:
    error = refusal(401, "why", headers=(("WWW-Authenticate", "Basic realm=a"),))
    assert dict(read(error.response())[0].headers)[b"www-authenticate"] == b"Basic realm=a"
    assert refusal(405, "why", headers=(("X", "y"),)).headers == (("Allow", "GET"), ("X", "y"))


@pytest.mark.parametrize("status", [-1, 0, 101, 200, 299, 600, 1000])
def test_R2_a_status_that_is_no_refusal_cannot_refuse(status: int) -> None:
    with pytest.raises(ValueError, match=str(status)):
        refusal(status, "why")


@pytest.mark.parametrize(
    "field",
    [
        ("X", "a\r\nY: b"),
        ("X", "a\nb"),
        ("X", "a\0"),
        ("X", "\u2026"),
        ("X: a\r\nY", "b"),
        ("X ", "a"),
        ("", "a"),
        ("\xe9", "a"),
        ("Connection", "keep-alive"),
        ("content-length", "0"),
        ("Content-Type", "text/html"),
        ("Transfer-Encoding", "chunked"),
    ],
)
def test_R2_a_header_that_would_change_the_answer_is_an_error(field: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="header field"):
        refusal(403, "why", headers=(field,))


@pytest.mark.parametrize("field", [("X", "secret\r\n"), ("secret\r\n", "x")])
def test_what_can_not_be_sent_is_not_repeated_since_it_may_be_the_clients(
    field: tuple[str, str],
) -> None:
    with pytest.raises(ValueError, match="can't be sent") as raised:
        refusal(302, "why", headers=(field,))
    assert "secret" not in str(raised.value)


# What an application answers with.


def test_a_refusal_may_bring_its_own_content() -> None:
    answer = refusal(
        401, "why", content=b'{"who": "\xc3\xa9"}', content_type="application/json"
    ).response()
    response, content = read(answer)
    fields = dict(response.headers)
    assert fields[b"content-type"] == b"application/json"
    assert content == b'{"who": "\xc3\xa9"}'
    assert fields[b"content-length"] == str(len(content)).encode()


def test_a_redirection_can_refuse() -> None:
    response, _ = read(refusal(302, "why", headers=(("Location", "/login"),)).response())
    assert response.status_code == 302
    assert dict(response.headers)[b"location"] == b"/login"


@pytest.mark.parametrize("kind", ["a\r\nX: y", "\x00", "caf\xe9"])
def test_a_content_type_that_could_add_a_field_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="can't be sent"):
        refusal(403, "why", content=b"", content_type=kind)


def test_an_origin_is_printable_in_the_log_of_its_refusal() -> None:
    error = origin_refused("https://a.example", "b.example", same=False)
    assert error.status == 403
    assert str(error) == '403 the origin "https://a.example" is not accepted (see --origin)'
    assert b"example" not in error.response()
    assert "--origin none" in origin_refused(None, None, same=False).hint


@pytest.mark.parametrize(
    "origin", ["https://a\x1b[2J'\n.example", "https://u:example@a", "example"]
)
def test_an_origin_that_is_none_is_not_repeated_in_the_log(origin: str) -> None:
    error = origin_refused(origin, None, same=False)
    assert str(error).isprintable()
    assert "example" not in str(error)


def test_the_refusal_of_another_host_says_with_what_it_was_compared_and_what_to_set() -> None:
    error = origin_refused("https://example.org", "dorrit", same=True)
    assert error.reason == (
        'the origin "https://example.org" is not accepted, '
        'nor that of the request\'s Host, "dorrit"'
    )
    assert "nginx: proxy_set_header Host $http_host;" in error.hint
    assert "Apache: ProxyPreserveHost On;" in error.hint
    assert b"dorrit" not in error.response()


def test_the_refusal_of_a_process_names_its_user_and_the_option() -> None:
    error = peer_refused(33)
    assert error.status == 403
    assert error.reason == "the process that has connected is run by the user 33"
    assert "--allow-peer 33" in error.hint
    assert b"33" not in error.response().partition(b"\r\n\r\n")[2]
    assert "--allow-peer" in peer_refused(None).hint


def test_a_request_that_is_malformed_is_told_how_in_the_log_and_in_the_content() -> None:
    error = bad_request("there are 2 Host fields, not 1", "the hint")
    assert str(error) == "400 there are 2 Host fields, not 1 (the hint)"
    assert read(error.response())[1] == b"400 Bad Request\nThere are 2 Host fields, not 1.\n"


def test_a_head_that_is_too_large_is_refused_with_the_limit_in_the_log_only() -> None:
    error = head_too_large(8192)
    assert error.status == 431
    assert "8192" in error.reason
    assert b"8192" not in error.response()


def test_a_304_has_no_content_nor_fields_that_describe_it() -> None:
    answer = refusal(304, "not modified", headers=(("ETag", '"7"'),)).response()
    assert answer == b'HTTP/1.1 304 Not Modified\r\nConnection: close\r\nETag: "7"\r\n\r\n'
    with pytest.raises(ValueError, match="status 304 can't have content"):
        refusal(304, "not modified", content=b"x")
