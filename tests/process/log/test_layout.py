"""What a log record looks like (R23, O1)."""

import json
import logging
import re

import pytest

from dorrit.process.log.layout import json_lines, text_lines


def record(
    text: object, *arguments: object, name: str = "dorrit", error: BaseException | None = None
) -> logging.LogRecord:
    trace = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord(name, logging.ERROR, "", 0, text, arguments, trace)


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("no")

    __str__ = __repr__


def test_a_record_of_another_logger_names_it() -> None:
    assert text_lines(record("a %s", "b", name="myapp"), False, 100) == ["myapp: a b"]
    assert text_lines(record("a %s", "b"), False, 100) == ["a b"]


def test_time_and_level_come_first() -> None:
    (line,) = text_lines(record("text"), True, 100)
    assert re.fullmatch(r"[-\d]{10} [:\d]{8},\d{3} ERROR text", line)


def test_all_lines_but_the_first_are_marked_and_control_characters_are_escaped() -> None:
    lines = text_lines(record("a\nb\rc\x1b\x85\u2028\ud800é"), True, 100)
    assert lines[0].endswith(" ERROR a")
    assert lines[1:] == [r"| b\rc\x1b\x85\u2028\ud800é"]


def test_the_logger_and_the_level_are_text_as_well() -> None:
    made = record("x", name="my\napp")
    made.levelname = "\x1b"
    first, second = text_lines(made, True, 100)
    assert first.endswith(r" \x1b my")
    assert second == "| app: x"


def test_a_traceback_keeps_its_lines() -> None:
    def fail() -> None:
        raise ValueError("a\nb")

    with pytest.raises(ValueError, match="a\nb") as raised:
        fail()
    made = record("x", error=raised.value)
    first, trace, *_, last, forged = text_lines(made, False, 100)
    assert (first, trace) == ("x", "| Traceback (most recent call last):")
    assert (last, forged) == ("| ValueError: a", "| b")


@pytest.mark.parametrize("lines", [text_lines, json_lines])
def test_whatever_is_in_a_record_it_is_not_lost(lines: object) -> None:
    assert callable(lines)
    assert "do not fit" in lines(record("%d", "x"), True, 1000)[0]
    assert "do not fit" in lines(record("%s", Unprintable()), True, 1000)[0]
    assert "a Unprintable" in lines(record(Unprintable()), True, 1000)[0]
    nothing = record("x")
    nothing.exc_info = (None, None, None)
    assert lines(nothing, True, 1000)[0].count("None") == 0
    strange = record("x", error=ValueError(Unprintable()))
    assert "ValueError" in "".join(lines(strange, True, 1000))


def test_json_is_ascii_and_without_control_characters() -> None:
    made = record("a\n\x00\x1b\x7f\x85\u202e\ud800é %s", "b", name="myapp")
    (line,) = json_lines(made, True, 1000)
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)
    assert set(told) == {"time", "level", "logger", "message"}
    assert told["message"] == made.getMessage()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[:\d]{8}\.\d{3}[+-]\d\d:\d\d", told["time"])


def test_json_has_what_dorrit_knows_of_a_client_and_nobody_else_can_say_so() -> None:
    for name in ("dorrit", "myapp"):
        made = record("x", name=name)
        made.about = {"client": 7}
        assert (json.loads(json_lines(made, True, 100)[0]).get("client") == 7) is (name == "dorrit")


def test_a_long_line_is_cut_and_json_stays_json() -> None:
    assert text_lines(record("a" * 11), False, 10) == ["a" * 10 + "... (11 characters)"]
    error = ValueError("\U0001f600" * 10_000)
    (line,) = json_lines(record("é" * 10_000, error=error), True, 2000)
    assert len(line) <= 2200
    told = json.loads(line)
    assert told["message"].startswith("é")
    assert told["message"].endswith("(10000 characters)")
    assert told["exception"].endswith("characters)")


def test_a_stack_is_shown() -> None:
    made = record("x")
    made.stack_info = "Stack:\n  here"
    assert text_lines(made, False, 100) == ["x", "| Stack:", "|   here"]
    assert json.loads(json_lines(made, False, 1000)[0])["stack"] == made.stack_info
