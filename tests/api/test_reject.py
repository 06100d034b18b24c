"""Reject: what it takes, and what comes of one that is wrong."""

import re
from http import HTTPStatus
from typing import Any

import pytest

from dorrit import Connection, Reject, Server
from dorrit.testing import Rejected, serve
from tests.support.harness import LogRecords


def each_kind(app: Server, kind: str, opened: Any) -> None:
    """Have this function be the open handler, as it is or `async`."""

    async def opened_later(conn: Connection) -> Any:
        return opened(conn)

    app.on_open(opened if kind == "plain" else opened_later)


def response(reject: Reject) -> bytes:
    return reject._refusal.response()


@pytest.mark.parametrize("status", ["403", 403.0, None, True])
def test_a_status_is_an_int(status: Any) -> None:
    with pytest.raises(TypeError, match=f"status must be an int, not {type(status).__name__}"):
        Reject(status)


def test_a_status_may_be_one_of_http_status() -> None:
    reject = Reject(HTTPStatus.NOT_FOUND)
    assert str(reject) == "refused with 404"
    assert response(reject).startswith(b"HTTP/1.1 404 Not Found\r\n")


@pytest.mark.parametrize("body", [{"error": "no"}, 5, ["x"], False, bytearray(b"x")])
def test_a_body_is_str_or_bytes(body: Any) -> None:
    text = f"body must be str, bytes or None, not {type(body).__name__}"
    with pytest.raises(TypeError, match=f"^{text}$"):
        Reject(400, body=body)


def test_what_is_wrong_is_not_repeated_since_it_may_be_the_clients() -> None:
    for wrong in (
        lambda: Reject(400, body=["secret"]),  # type: ignore[arg-type]
        lambda: Reject("secret"),  # type: ignore[arg-type]
        lambda: Reject(302, {"Location": b"secret"}),  # type: ignore[dict-item]
        lambda: Reject(302, {"Location": "secret\r\n"}),
        lambda: Reject(302, ["secret"]),  # type: ignore[list-item]
        lambda: Reject(302, body="secret \ud800"),
    ):
        with pytest.raises((TypeError, ValueError)) as raised:
            wrong()
        assert "secret" not in str(raised.value)


def test_a_body_that_can_not_be_encoded_is_named() -> None:
    with pytest.raises(ValueError, match=r"body can't be encoded: .*surrogates"):
        Reject(400, body="\ud800")


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Retry-After": 30}, "the header field 'Retry-After' must be a str, not int"),
        ({"X": None}, "the header field 'X' must be a str, not NoneType"),
        ({7: "x"}, "the name of a header field must be a str, not int"),
        ([("X", "a", "b")], "headers must be pairs of a name and a value, not tuple"),
        (["ab"], "headers must be pairs of a name and a value, not str"),
        ("X: a", "headers must be a mapping or pairs of names and values, not str"),
        (None, "headers must be a mapping or pairs of names and values, not NoneType"),
    ],
)
def test_header_fields_are_pairs_of_str_and_the_wrong_one_is_named(headers: Any, said: str) -> None:
    with pytest.raises(TypeError, match=re.escape(said)):
        Reject(429, headers)


def test_a_304_has_no_content_and_takes_none() -> None:
    assert response(Reject(304, {"ETag": '"7"'})) == (
        b'HTTP/1.1 304 Not Modified\r\nConnection: close\r\nETag: "7"\r\n\r\n'
    )
    with pytest.raises(ValueError, match="status 304 can't have content"):
        Reject(304, body="x")


class Unfinished(Reject):
    """One that has left out what its class does."""

    def __init__(self) -> None:
        pass


def raise_unfinished(_conn: Connection) -> None:
    raise Unfinished


def raise_broken(_conn: Connection) -> None:
    reject = Reject(400)
    reject._refusal.content = 5  # type: ignore[assignment]  # the engine finds out when it answers
    raise reject


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("opened", [raise_unfinished, raise_broken])
def test_an_answer_that_can_not_be_made_is_500_and_the_client_is_let_go(
    kind: str, opened: Any, log: LogRecords
) -> None:
    app, closed = Server(trust="X-Real-IP", max_per_client=1), []
    each_kind(app, kind, opened)
    app.on_close(lambda conn, code, reason: closed.append(code))
    with serve(app) as server:
        for _ in range(2):
            with pytest.raises(Rejected) as raised, server.connect(headers={"X-Real-IP": "::1"}):
                pass
            assert raised.value.status == 500
        server.run(0.01)
        loop = app._application.driver
        assert loop is not None
        assert loop.engine.connections == 0
    assert closed == []
    assert log.text.count("the open handler raised TypeError") == 2
    assert "a fault in dorrit" not in log.text
    assert "handshake refused, 400" not in log.text


def test_a_reject_that_does_not_call_its_class_is_told_so(log: LogRecords) -> None:
    app = Server()
    app.on_open(raise_unfinished)
    with serve(app) as server, pytest.raises(Rejected), server.connect():
        pass
    assert "Unfinished.__init__ must call super().__init__(status, ...)" in log.text


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_rejection_that_is_returned_says_that_it_is_to_be_raised(
    kind: str, log: LogRecords
) -> None:
    app = Server()
    each_kind(app, kind, lambda _conn: Reject(404))
    with serve(app) as server, pytest.raises(Rejected) as raised, server.connect():
        pass
    assert raised.value.status == 500
    assert "the open handler returned a Reject: raise it" in log.text


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_wrong_reject_is_logged_once_with_the_line_that_has_made_it(
    kind: str, log: LogRecords
) -> None:
    app = Server()

    def opened(_conn: Connection) -> None:
        raise Reject(400, body={"error": "no"})  # type: ignore[arg-type]

    each_kind(app, kind, opened)
    with serve(app) as server, pytest.raises(Rejected) as raised, server.connect():
        pass
    assert raised.value.status == 500
    errors = [record for record in log.records if record.levelname in ("ERROR", "CRITICAL")]
    assert len(errors) == 1
    assert "body must be str, bytes or None, not dict" in log.text
    assert 'raise Reject(400, body={"error": "no"})' in log.text
