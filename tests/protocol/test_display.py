"""Untrusted text on its way to the log (R2, R23)."""

import codecs
import re
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dorrit.protocol.display import printable, quoted, target_for_log

ESCAPE = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}")
NOTE = re.compile(r"\.\.\. \((\d+) (bytes|characters)\)\Z")


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", ""),
        ("", ""),
        (b"GET /chat", "GET /chat"),
        ("a\r\nforged", r"a\x0d\x0aforged"),
        (b"\x1b[2J\x07\x00\x7f", r"\x1b[2J\x07\x00\x7f"),
        (b"\"'\\", r"\x22\x27\x5c"),
        (b"\xc3\xa9\x9b", r"\xc3\xa9\x9b"),
        ("\xe9\x9b\xa0", r"\xe9\x9b\xa0"),
        ("\u202e\u2028\ufeff\udcff", r"\u202e\u2028\ufeff\udcff"),
        ("\U0001f600", r"\U0001f600"),
        ("\x7e\x7f\xff\u0100", r"~\x7f\xff\u0100"),
        ("\uffff\U00010000", r"\uffff\U00010000"),
    ],
)
def test_R23_what_is_not_printable_ascii_is_escaped(data: bytes | str, shown: str) -> None:
    assert printable(data) == shown


@pytest.mark.parametrize(
    ("data", "limit", "shown"),
    [
        (b"abcd", 4, "abcd"),
        (b"abcde", 4, "abcd... (5 bytes)"),
        ("abcde", 4, "abcd... (5 characters)"),
        (b"abc\x00", 6, "abc... (4 bytes)"),
        (b"abc\x00", 7, r"abc\x00"),
        ("\U0001f600", 9, "... (1 characters)"),
        ("\U0001f600", 10, r"\U0001f600"),
        (b"a", 0, "... (1 bytes)"),
        (b"", 0, ""),
        (b"a" * 121, 120, "a" * 120 + "... (121 bytes)"),
    ],
)
def test_R23_what_is_too_long_is_cut_and_its_length_noted(
    data: bytes | str, limit: int, shown: str
) -> None:
    assert printable(data, limit) == shown


def test_R23_the_limit_is_120_unless_told() -> None:
    assert printable(b"a" * 120) == "a" * 120
    assert printable(b"a" * 121) == "a" * 120 + "... (121 bytes)"


def test_R23_a_negative_limit_is_an_error() -> None:
    with pytest.raises(ValueError, match="-1"):
        printable(b"", -1)


@given(st.binary(max_size=80) | st.text(max_size=80), st.integers(0, 100))
@example(b"\\x00", 100)
@example("\\", 3)
def test_R23_the_text_is_safe_and_never_cut_inside_an_escape(data: bytes | str, limit: int) -> None:
    text = printable(data, limit)
    assert text.isascii()
    assert text.isprintable() or text == ""
    assert '"' not in text
    assert "'" not in text
    note = NOTE.search(text)
    shown = text[: note.start()] if note and int(note[1]) != len(shown_whole(text, data)) else text
    assert len(shown) <= limit
    assert "\\" not in ESCAPE.sub("", shown)


def shown_whole(text: str, data: bytes | str) -> bytes | str:
    """Return what the text stands for if it was not cut, or nothing of the kind."""
    plain = codecs.decode(text, "unicode_escape")
    whole = plain.encode("latin-1", "replace") if isinstance(data, bytes) else plain
    return whole if whole == data else b""


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_R23_the_original_can_be_read_back_from_what_was_not_cut(data: bytes | str) -> None:
    back = codecs.decode(printable(data, 10 * 200), "unicode_escape")
    assert (back.encode("latin-1") if isinstance(data, bytes) else back) == data


@given(st.binary(max_size=80), st.integers(0, 100))
def test_R23_what_is_shown_of_cut_data_is_as_much_of_its_beginning_as_fits(
    data: bytes, limit: int
) -> None:
    text = printable(data, limit)
    escaped = [printable(data[index : index + 1]) for index in range(len(data))]
    count = 0
    while count < len(data) and len("".join(escaped[: count + 1])) <= limit:
        count += 1
    note = "" if count == len(data) else f"... ({len(data)} bytes)"
    assert text == "".join(escaped[:count]) + note


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/chat", "/chat"),
        ("/chat?token=secret", "/chat"),
        ("/chat#secret", "/chat"),
        ("/chat#secret?secret", "/chat"),
        ("/chat?secret#secret", "/chat"),
        ("?secret", ""),
        (b"/chat\x1b?secret", r"/chat\x1b"),
        (b"/\xff?\xff", r"/\xff"),
        ("http://a/b?secret", "http://a/b"),
        ("http://user:secret@a/b@c", "http://a/b@c"),
        ("http://user:s@cret@a", "http://a"),
        ("http://a/http://b@c", "http://a/http://b@c"),
        ("/x://b@c", "/x://b@c"),
        ("*", "*"),
        ("a:80", "a:80"),
    ],
)
def test_R2_a_target_is_logged_without_its_query_and_password(
    target: bytes | str, shown: str
) -> None:
    assert target_for_log(target) == shown


def test_R2_a_long_target_is_cut_at_the_limit() -> None:
    assert target_for_log("/" + "a" * 300) == "/" + "a" * 119 + "... (301 characters)"
    assert target_for_log("/abc?" + "a" * 300, 2) == "/a... (4 characters)"


@given(st.text(max_size=60), st.text(max_size=60))
def test_R2_nothing_behind_a_question_mark_or_number_sign_is_logged(path: str, query: str) -> None:
    for mark in "?#":
        assert target_for_log(path + mark + query) == target_for_log(path + mark)


@pytest.mark.parametrize(
    ("what", "value", "shown"),
    [
        ("origin", "https://a.example:8443", '"https://a.example:8443"'),
        ("origin", "null", '"null"'),
        ("origin", "file://", '"file://"'),
        ("origin", "http://[::1]:80", '"http://[::1]:80"'),
        ("origin", "https://user:secret@a", "(malformed)"),
        ("origin", "https://a/secret", "(malformed)"),
        ("origin", "https://a?secret", "(malformed)"),
        ("origin", "secret", "(malformed)"),
        ("origin", "https://a\n", "(malformed)"),
        ("origin", "https://" + "a" * 500 + "@", "(malformed)"),
        ("origin", "https://" + "a" * 92, '"https://' + "a" * 56 + '... (100 characters)"'),
        ("host", "a.example:80", '"a.example:80"'),
        ("host", "", '""'),
        ("host", "secret@a", "(malformed)"),
        ("host", "a secret", "(malformed)"),
        ("path", "/chat?secret", '"/chat"'),
        ("path", "/\x1b'", '"/\\x1b\\x27"'),
    ],
)
def test_R23_of_a_client_origin_host_and_path_are_quoted_if_they_look_like_it(
    what: Literal["origin", "host", "path"], value: str, shown: str
) -> None:
    assert quoted(what, value) == shown
