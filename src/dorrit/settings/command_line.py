"""The settings as options of the command line, and as such again."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from dorrit.errors import StartError, closest
from dorrit.settings.readers import NO_TCP, text_of
from dorrit.settings.setting import Setting
from dorrit.settings.table import SETTINGS

TCP_OPTIONS: Final = frozenset({"--port", "--host", "--bind", "--address", "-p"})


class CommandLine(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, and takes no option by a part of its name."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - those of ArgumentParser
        """Take the settings of `argparse.ArgumentParser`."""
        # "--max" would become ambiguous, and fail, with the next option that begins so.
        super().__init__(**settings, allow_abbrev=False)

    def parse_known_args(  # type: ignore[override]  # no other kinds of namespaces
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and know all: a subcommand's parser says itself what it does not."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._advice(unknown)}")
        return parsed, unknown

    def _advice(self, unknown: Iterable[str]) -> str:
        for word in unknown:
            option = word.partition("=")[0]
            if option in TCP_OPTIONS:
                return f"; {NO_TCP}"
            similar = closest(option, self._option_string_actions, cutoff=0.75)
            if option.startswith("--") and similar:
                return f"; did you mean {similar}?"
        return ""

    def error(self, message: str) -> NoReturn:
        """Raise a StartError; argparse would print the usage as well, which buries the reason."""
        raise StartError(f"{message}; see {self.prog} --help", status=2)


class _Switch(argparse.Action):
    """An option without a value, and the one that turns it off: `const`."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        _values: object,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, option_string != self.const)


def add_arguments(
    parser: argparse.ArgumentParser,
    leave_out: Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Add the options to a parser.

    A setting that is not given is not an attribute of the parsed arguments, so that `given` can
    tell; the same `defaults` are to be passed to `merge`.

    Args:
        parser: What gets them.
        leave_out: The names of the settings that get no option.
        defaults: What the code gives, as `check` returns it: the help calls them the defaults.
    """
    for setting in SETTINGS:
        if setting.name in leave_out:
            continue
        flags = [setting.flag, setting.option, setting.opposite]
        default = _default(setting, (defaults or {}).get(setting.name, setting.default))
        help_text = setting.help + (f" (default: {default})" if default else "")
        kind: dict[str, Any] = {"action": _Switch, "nargs": 0, "const": setting.opposite}
        if setting.metavar is not None:
            action = "append" if setting.repeatable else "store"
            kind = {"action": action, "metavar": setting.metavar, "type": _argument_type(setting)}
        parser.add_argument(
            *(flag for flag in flags if flag),
            dest=setting.name,
            default=argparse.SUPPRESS,
            help=help_text.replace("%", "%%"),  # argparse fills in what follows one
            **kind,
        )


def _default(setting: Setting, value: object) -> str:
    """Return what the help says of a default; nothing of a switch that is off."""
    if value is None or value == ():
        return setting.unset
    if isinstance(value, bool):
        return setting.option if value else ""
    return ", ".join(map(text_of, value)) if isinstance(value, tuple) else text_of(value)


def _argument_type(setting: Setting) -> Callable[[str], object]:
    def convert(text: str) -> object:
        try:
            return setting.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that stood on the command line, and no others."""
    values = vars(arguments)
    return {
        setting.name: tuple(values[setting.name]) if setting.repeatable else values[setting.name]
        for setting in SETTINGS
        if setting.name in values
    }


def options_of(given: Mapping[str, Any]) -> list[str]:
    """Return the options that give these settings; `given` makes the same of them again."""
    options = []
    for setting in SETTINGS:
        if setting.name not in given:
            continue
        value = given[setting.name]
        if setting.metavar is None:
            options.append(setting.option if value else setting.opposite or "")
        else:
            values = value if setting.repeatable else (value,)
            options += [f"{setting.option}={text_of(one)}" for one in values]
    return options
