"""The settings as the command line has them, and values for each."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dorrit.protocol.origin import read_origin
from dorrit.settings import SETTINGS, CommandLine, Setting, Settings, add_arguments, given, merge
from dorrit.settings.readers import (
    OneOf,
    OneOfInAnyCase,
    Seconds,
    WholeNumber,
    absolute_path,
    file_name,
    text_of,
    url_path,
    user_name,
)

BY_NAME: Final = {setting.name: setting for setting in SETTINGS}

WITH_SPAN: Final = [one for one in SETTINGS if isinstance(one.read, WholeNumber | Seconds)]


def arguments_of(*words: str, leave_out: tuple[str, ...] = ()) -> argparse.Namespace:
    """What a command takes of these words."""
    parser = CommandLine(prog="command")
    add_arguments(parser, leave_out)
    return parser.parse_args(words)


def parse(*words: str, leave_out: tuple[str, ...] = ()) -> Settings:
    """The settings of a run whose code gives none."""
    return merge(given(arguments_of(*words, leave_out=leave_out)), {})


def span_of(setting: Setting) -> tuple[float, float]:
    """The least and the most that a number may be, other than 0."""
    assert isinstance(setting.read, WholeNumber | Seconds)
    return setting.read.least, setting.read.most


def values_of(setting: Setting) -> Sequence[Any]:
    """Two values of a setting; of a number the least and the most."""
    if setting.metavar is None:
        return True, False
    values = [setting.read(text) for text in _texts_of(setting)]
    return (tuple(values), tuple(values[1:])) if setting.repeatable else values


def _texts_of(setting: Setting) -> Sequence[str]:
    match setting.read:
        case WholeNumber() | Seconds() as span:
            return "0" if span.zero else text_of(span.least), text_of(span.most)
        case OneOf() | OneOfInAnyCase() as choice:
            return choice.words[:2]
        case _:
            return SAMPLES[setting.read]


SAMPLES: Final[Mapping[object, tuple[str, str]]] = {
    absolute_path: ("/a", "/a b"),
    file_name: ("a", "--x"),
    read_origin: ("same", "https://*.example.org"),
    url_path: ("/", "/h"),
    user_name: ("33", "-u"),
}
