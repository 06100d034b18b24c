"""Which origins are accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorrit.protocol.origin import Origins, read_origin


@pytest.mark.parametrize(
    ("accepted", "origin", "host", "allowed"),
    [
        ("https://example.org", "https://example.org", None, True),
        ("https://example.org", "HTTPS://Example.ORG", None, True),
        ("https://example.org", "https://example.org:443", None, True),
        ("https://example.org:443", "https://example.org", None, True),
        ("https://example.org", "https://example.org:8443", None, False),
        ("https://example.org", "http://example.org", None, False),
        ("https://example.org", "https://example.org.evil.com", None, False),
        ("https://example.org", "https://evil.com/https://example.org", None, False),
        ("https://example.org", None, "example.org", False),
        ("https://example.org", "null", None, False),
        ("none", None, None, True),
        ("none", "https://example.org", "example.org", False),
        ("null", "null", None, True),
        ("null", None, None, False),
        ("same", "https://example.org", "example.org", True),
        ("same", "http://example.org", "Example.org:80", True),
        ("same", "https://example.org:8443", "example.org:8443", True),
        ("same", "https://example.org", "example.org:8443", False),
        ("same", "https://evil.com", "example.org", False),
        ("same", "https://[2001:db8::1]:9", "[2001:DB8::1]:9", True),
        ("same", "null", "null", False),
        ("same", "https://example.org", None, False),
        ("https://*.example.org", "https://a.example.org", None, True),
        ("https://*.example.org", "https://a.b.example.org", None, True),
        ("https://*.example.org", "https://example.org", None, False),
        ("https://*.example.org", "https://.example.org", None, False),
        ("https://*.example.org", "https://evil.com/.example.org", None, False),
        ("https://*.example.org", "https://evil.com:80.example.org", None, False),
        ("https://*.example.org", "https://a@b.example.org", None, False),
        ("https://*.example.org", "https://a.example.org.evil.com", None, False),
        ("https://*.example.org", "https://a.exampleXorg", None, False),
        ("https://*.example.org", "https://*.example.org", None, False),
        ("http://localhost:*", "http://localhost:8080", None, True),
        ("http://localhost:*", "http://localhost", None, False),
        ("http://localhost:*", "http://localhost:80", None, False),
        ("app://*", "app://x", None, True),
    ],
)
def test_an_origin(accepted: str, origin: str | None, host: str | None, allowed: bool) -> None:
    assert Origins([accepted]).allows(origin, host) is allowed


def test_one_of_several_is_enough() -> None:
    origins = Origins(["https://a.org", "none", "http://localhost:*"])
    assert origins.allows("https://a.org", None)
    assert origins.allows(None, None)
    assert origins.allows("http://localhost:1", None)
    assert not origins.allows("https://b.org", None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("*", "every origin"),
        ("example.org", "no scheme"),
        ("https://example.org/", "no path"),
        ("https://example.org/chat", "no path"),
        ("https://u@example.org", "is no origin"),
        ("https://", "is no origin"),
        ("https://a b", "is no origin"),
        ("https://a\n", "is no origin"),
        ("https://example.org:x", "is no origin"),
        ("https://*.*.*.org", "more than 2 stars"),
        ("", "no scheme"),
        ("SAME", "no scheme"),
    ],
)
def test_what_is_no_origin_is_said_at_the_start(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        read_origin(text)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=why):
        Origins([text])


@given(st.text())
def test_any_text_is_answered(origin: str) -> None:
    allowed = Origins(["same", "https://*.example.org"]).allows(origin, "localhost")
    assert allowed in (False, origin.lower().startswith(("https://", "http://")))


@pytest.mark.parametrize("piece", ["a", "a.", "-.", "a:", "[", "*"])
def test_a_long_hostile_origin_costs_little(piece: str) -> None:
    origins = Origins(["https://*.*.example.org", "same"])
    for length in (250, 500, 20_000):
        assert not origins.allows("https://" + piece * length, "example.org")
