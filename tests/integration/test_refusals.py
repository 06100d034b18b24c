"""Requests that dorrit refuses: nginx passes exactly its answers on, and never says 502."""

import pytest

from tests.integration.raw_client import (
    FIN,
    TEXT,
    UPGRADE_FIELDS,
    Fields,
    RawClient,
    frame,
    without,
)

KEY_FIELD = ("Sec-WebSocket-Key", "AAECAwQFBgcICQoLDA0ODw==")


def refused_by_dorrit(client: RawClient) -> bool:
    """Tell dorrit's answer from one of nginx's, which is a page of HTML."""
    return client.field("Content-Type") == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param(without(UPGRADE_FIELDS, "Sec-WebSocket-Key"), 400, id="no-key"),
        pytest.param((*UPGRADE_FIELDS, KEY_FIELD), 400, id="two-keys"),
        pytest.param(
            (*without(UPGRADE_FIELDS, "Sec-WebSocket-Key"), ("Sec-WebSocket-Key", "short")),
            400,
            id="short-key",
        ),
        pytest.param((*UPGRADE_FIELDS, ("Sec-WebSocket-Version", "13")), 400, id="two-versions"),
        pytest.param(
            (*without(UPGRADE_FIELDS, "Sec-WebSocket-Version"), ("Sec-WebSocket-Version", "8")),
            426,
            id="old-version",
        ),
        pytest.param(without(UPGRADE_FIELDS, "Upgrade"), 426, id="no-upgrade"),
        pytest.param((), 426, id="a-plain-request"),
        pytest.param((*UPGRADE_FIELDS, ("X-Large", "x" * 30_000)), 101, id="one-long-line"),
        pytest.param((*UPGRADE_FIELDS, *[("X-Large", "x" * 30_000)] * 3), 431, id="too-long"),
    ],
)
def test_R2_refusal_arrives_as_it_is(nginx_url: str, fields: Fields, status: int) -> None:
    with RawClient(nginx_url) as client:
        assert client.request(fields) == status
        if status == 426:
            assert client.field("Sec-WebSocket-Version") == "13"
        if status != 101:
            assert refused_by_dorrit(client)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_R2_other_methods_are_answered_405(nginx_url: str, method: str) -> None:
    with RawClient(nginx_url) as client:
        assert client.request(method=method) == 405
        assert client.field("Allow") == "GET"
        assert refused_by_dorrit(client)


@pytest.mark.parametrize("size", [1, 16_384, 1_000_000])
@pytest.mark.parametrize(("method", "status"), [("POST", 405), ("GET", 400)])
def test_R2_request_with_a_body_is_answered_whatever_of_it_is_unread(
    nginx_url: str, method: str, status: int, size: int
) -> None:
    fields = (*UPGRADE_FIELDS, ("Content-Length", str(size)))

    with RawClient(nginx_url) as client:
        assert client.request(fields, method=method, body=bytes(size)) == status
        assert refused_by_dorrit(client)


def test_R2_client_may_try_again_on_the_same_connection_to_nginx(nginx_url: str) -> None:
    with RawClient(nginx_url) as client:
        for _ in range(3):
            assert client.request(without(UPGRADE_FIELDS, "Sec-WebSocket-Key")) == 400
            client.receive_content()

        assert client.request() == 101
        client.send(frame(FIN | TEXT, b"at last"))
        assert client.receive_frame() == (FIN | TEXT, b"at last")
