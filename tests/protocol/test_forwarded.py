"""The client's address: only what our own web server has written is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorrit.protocol.forwarded import TRUSTABLE, client_address


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ([], None),
        (["192.0.2.1"], "192.0.2.1"),
        (["10.0.0.1, 192.0.2.1"], "192.0.2.1"),
        (["evil", "192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, evil"], None),
        (["192.0.2.1,"], None),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["[2001:DB8::1]:80"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["2001:db8:0::1"], "2001:db8::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["fe80::1%eth0"], None),
        (["unix:"], None),
        (["192.0.2.1:port"], None),
        (["[2001:db8::1]x"], None),
        (["192.0.2.256"], None),
        (["0300.0.2.1"], None),
        ([""], None),
    ],
)
def test_of_x_forwarded_for_the_right_hand_end_counts(
    values: list[str], address: str | None
) -> None:
    assert client_address(values, "X-Forwarded-For") == address


def test_of_x_real_ip_there_is_one() -> None:
    assert client_address(["192.0.2.1"], "x-real-ip") == "192.0.2.1"
    assert client_address(["192.0.2.1", "192.0.2.1"], "X-Real-IP") is None
    assert client_address(["192.0.2.1, 192.0.2.2"], "X-Real-IP") is None


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
        (['For="[2001:db8:cafe::17]:4711"'], "2001:db8:cafe::17"),
        (['for="192.0.2.43:_gazonk-1.x"'], "192.0.2.43"),
        (['for="[2001:db8::1]:_a"'], "2001:db8::1"),
        (['for="192.0.2.43:_"'], None),
        (["for=192.0.2.43, "], None),
        (["for=10.0.0.1, for=192.0.2.1"], "192.0.2.1"),
        (['for=10.0.0.1, proto=https ; for="192.0.2.1:80"'], "192.0.2.1"),
        (["for=10.0.0.1", "for=192.0.2.1"], "192.0.2.1"),
        (['for="192.0.2\\.1"'], "192.0.2.1"),
        (['by="a, for=10.0.0.1";for=192.0.2.1'], "192.0.2.1"),
        (["for=192.0.2.1, by=x"], None),
        (["for=unknown"], None),
        (["for=_hidden"], None),
        (['for="_x:80"'], None),
        (['for="192.0.2.1'], None),
        (["for=192.0.2.1;for=192.0.2.2"], None),
        (["192.0.2.1"], None),
        (["for=192.0.2.1,"], None),
        (["for==192.0.2.1"], None),
    ],
)
def test_of_forwarded_the_last_element_counts(values: list[str], address: str | None) -> None:
    assert client_address(values, "Forwarded") == address


@given(st.lists(st.text(), max_size=3), st.sampled_from(TRUSTABLE))
def test_any_text_is_an_address_or_none(values: list[str], header: str) -> None:
    address = client_address(values, header)
    assert address is None or set(address) <= set("0123456789abcdef.:")


@pytest.mark.parametrize("piece", ["for=", ',"', "for=1;", "\\\\", '"', " ", 'a="b', "["])
def test_a_long_hostile_line_is_read_in_one_pass(piece: str) -> None:
    for header in TRUSTABLE:
        client_address([piece * 20_000], header)
