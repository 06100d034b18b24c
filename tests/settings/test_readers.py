"""What a text on the command line may be, and its range."""

import pytest

from dorrit.settings import Setting, check
from tests.support.options import BY_NAME, WITH_SPAN, span_of


@pytest.mark.parametrize("setting", WITH_SPAN, ids=lambda setting: setting.name)
def test_each_number_has_its_range(setting: Setting) -> None:
    name, (least, most) = setting.name, span_of(setting)
    step = 0.125 if isinstance(setting.default, float) else 1
    assert check({name: least}) == {name: least}
    assert check({name: most}) == {name: most}
    for wrong in (most + step, *([least - step] if least - step > 0 else [])):
        with pytest.raises(ValueError, match=f"^{name}: .* is out of range: it must be "):
            check({name: wrong})
    assert least <= setting.default <= most or setting.default == 0


@pytest.mark.parametrize("setting", WITH_SPAN, ids=lambda setting: setting.name)
def test_the_range_stands_in_the_help_and_in_the_manual(setting: Setting) -> None:
    least, most = span_of(setting)
    for text in (setting.help, setting.manual or setting.help):
        assert f"{least:g} to {most}" in " ".join(text.split()).replace("16777216", "1.67772e+07")


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "1.2.3", "-1", "+1", " 1", "1 ", "1\n", "1e3", "1E3", "1_0", "1,5", "0x10",
        "nan", "inf", "Infinity", "\u0663", "1\u0663", "\uff11", "1s", "1\0", "1/2",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["ping_interval", "ping_timeout", "idle_timeout", "stop_grace"])
def test_seconds_are_digits_with_at_most_one_dot(name: str, text: str) -> None:
    with pytest.raises(
        ValueError, match=r" is not a number of seconds, such as 20 or 0\.5$"
    ) as raised:
        BY_NAME[name].read(text)
    assert str(raised.value).startswith(repr(text))


@pytest.mark.parametrize("name", ["listen", "config_file", "user", "group", "allow_peer"])
def test_a_name_with_a_nul_character_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        BY_NAME[name].read("/tmp/a\0b")


@pytest.mark.parametrize("name", ["handshake_timeout", "close_timeout"])
def test_a_deadline_that_guards_against_attacks_can_not_be_turned_off(name: str) -> None:
    with pytest.raises(ValueError, match=r"it must be 0\.25 to 3600$"):
        check({name: 0})


def test_no_limit_of_what_is_buffered_is_said_by_0() -> None:
    assert check({"max_buffered": 0}) == {"max_buffered": 0}
    with pytest.raises(ValueError, match=r"it must be 16777216 to 1125899906842624, or 0$"):
        check({"max_buffered": 1})
