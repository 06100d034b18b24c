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
        # What is in use: devices and apps with pages of their own, extensions of browsers.
        ("file://", "file://", None, True),
        ("file://", "FILE://", None, True),
        ("file://", "null", None, False),
        ("file://", "file://x", None, False),
        ("null", "file://", None, False),
        ("capacitor://localhost", "capacitor://localhost", None, True),
        ("ionic://localhost", "ionic://localhost", None, True),
        ("tauri://localhost", "tauri://localhost", None, True),
        ("app://.", "app://.", None, True),
        ("app://-", "app://-", None, True),
        ("qrc://", "qrc://", None, True),
        ("vscode-webview://*", "vscode-webview://0q8n2l5k", None, True),
        ("vscode-file://vscode-app", "vscode-file://vscode-app", None, True),
        (
            "moz-extension://0a1b2c3d-1234-5678-9abc-def012345678",
            "moz-extension://0a1b2c3d-1234-5678-9abc-def012345678",
            None,
            True,
        ),
        (
            "chrome-extension://*",
            "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
            None,
            True,
        ),
        ("resource://a%20b", "resource://a%20b", None, True),
        ("http://[::1]:8080", "http://[::1]:8080", None, True),
        ("http://[::1]:*", "http://[::1]:8080", None, True),
        ("http://[::1]:*", "http://[::2]:8080", None, False),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example", None, True),
        ("same", "file://", "", False),
        ("same", "file://", "localhost", False),
        ("same", "http://", "", False),
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
        ("https://u@example.org", "is not an origin"),
        ("https://", "is not an origin"),
        ("https://:80", "is not an origin"),
        ("HTTP://", "is not an origin"),
        ("file:///", "no path"),
        ("file:///index.html", "no path"),
        ("*://example.org", "a star stands in the host or the port; give each scheme"),
        ("https://example.org:65536", "there is no port above 65535"),
        ("https://example.org:123456789", "there is no port above 65535"),
        ("https://bücher.example", "as browsers send it: write https://xn--bcher-kva.example$"),
        ("https://BÜCHER.example:8443", "write https://xn--bcher-kva.example:8443$"),
        ("https://*.bücher.example", r"write https://\*\.xn--bcher-kva\.example$"),
        ("https://faß.example", "write https://xn--fa-hia.example$"),
        ("https://例え.テスト", "write https://xn--r8jz45g.xn--zckzah$"),
        ("https://bu\u0308cher。example", "write https://xn--bcher-kva.example$"),
        ("https://bücher.example/", "as browsers send it$"),
        ("https://\udce9.example", "as browsers send it$"),
        ("https://a b", "is not an origin"),
        ("https://a\n", "is not an origin"),
        ("https://example.org:x", "is not an origin"),
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


def test_a_host_is_named_by_the_origins_on_it_whatever_their_port() -> None:
    origins = Origins(
        ["https://a.org", "http://*.b.org:*", "http://[::1]:8080", "https://*", "same", "file://"]
    )
    for host in ("a.org", "A.org:80", "x.b.org:1", "[::1]", "[::1]:9"):
        assert origins.names_host(host)
    for host in (
        "",
        "b.org",
        "c.org",
        "a.org.c.org",
        "a.org@c.org",
        "*.b.org",
        "a.org/",
        "x" * 600,
    ):
        assert not origins.names_host(host)
    assert not Origins([]).names_host("")
