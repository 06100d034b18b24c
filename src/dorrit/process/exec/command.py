"""How this process was started, so that it can be started again just so (R28)."""

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from dorrit.process.exec.descriptors import inheritable_descriptors

VARIABLE: Final = "DORRIT_RESTART"
"""Tells the next image, and nobody else, which descriptor its inheritance is in."""


class Command(NamedTuple):
    """A command with all that a process inherits: what makes the next image like the first.

    A relative name, of the server's file, in PYTHONPATH, for ``-f``, or inside ``ws_init_func``,
    means the same again since the next image starts in the same directory; nothing is rewritten.

    Attributes:
        program: The interpreter's absolute path, in its virtual environment if there is one; empty
            if the command can't be repeated.
        arguments: The interpreter's arguments, from its own options on; not its name.
        environment: As it was, each variable as ``NAME=VALUE``.
        directory: The working directory; absolute.
        umask: The file mode creation mask.
        files: What the command is made of and the server's user must be able to read.
        descriptors: Those that were inherited, but for the standard streams.
        ignored: Signals that were ignored.
    """

    program: str
    arguments: tuple[str, ...]
    environment: tuple[bytes, ...]
    directory: str
    umask: int
    files: tuple[str, ...]
    descriptors: frozenset[int]
    ignored: frozenset[int]

    @classmethod
    def current(cls) -> Self:
        """Describe this process.

        To be called after `dorrit.process.crash.restart.inherited` and before anything is changed:
        the environment, the directory, the signals; so before the server's own code is loaded, and
        before other threads run.
        """
        return cls(
            program=_program(),
            arguments=tuple(sys.orig_argv[1:]),
            environment=tuple(
                name + b"=" + value
                for name, value in os.environb.items()
                if name != os.fsencode(VARIABLE)
            ),
            directory=_directory(),
            umask=_umask(),
            files=tuple(_files()),
            descriptors=frozenset(inheritable_descriptors()),
            ignored=frozenset(
                number
                for number in signal.valid_signals()
                if signal.getsignal(number) is signal.SIG_IGN
            ),
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it; see `from_json`."""
        return self._asdict() | {
            "environment": [os.fsdecode(variable) for variable in self.environment],
            "descriptors": sorted(self.descriptors),
            "ignored": sorted(self.ignored),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return what `as_json` has returned."""
        return cls(
            program=content["program"],
            arguments=tuple(content["arguments"]),
            environment=tuple(map(os.fsencode, content["environment"])),
            directory=content["directory"],
            umask=content["umask"],
            files=tuple(content["files"]),
            descriptors=frozenset(content["descriptors"]),
            ignored=frozenset(content["ignored"]),
        )

    def obstacles(self, files: Iterable[str] = ()) -> list[str]:
        """Return why the current user can't run the command, one line each; for the log.

        libdorrit(3): "If your server starts as root and changes user and group, the library will be
        unable to restart if your server is not executable by the user or group".

        Args:
            files: Further files that must be readable; relative ones belong to `directory`.
        """
        if not self.program:
            return ["its program was read from standard input, or has no interpreter of its own"]
        why = []
        if not os.access(self.directory, os.X_OK):
            why.append(f"{self.directory}, where it was started, can't be entered by its user")
        if not os.access(self.program, os.X_OK):
            why.append(f"{self.program} can't be executed by its user")
        why += [
            f"{file} can't be read by its user"
            for file in (*self.files, *files)
            if not os.access(Path(self.directory, file), os.R_OK)
        ]
        return why


def _program() -> str:
    """Return the interpreter.

    ``sys.executable`` is that of the virtual environment. The name in ``sys.orig_argv`` may be
    relative, or one that PATH leads elsewhere by now.
    """
    from_standard_input = sys.argv[:1] in ([], [""], ["-"])
    return "" if from_standard_input or not sys.executable else sys.executable


def _directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "/"  # removed, or out of reach: what is relative can't be found now either


def _umask() -> int:
    """Return the mask, which can't be read without being set."""
    before = os.umask(0o077)
    os.umask(before)
    return before


def _files() -> list[str]:
    """Return the main program, and one file each of the library and of Python."""
    package = str(Path(__file__).resolve().parents[2] / "__init__.py")
    # Not Path.exists, which raises for what can't be looked at.
    return [name for name in (sys.argv[0], package, os.__file__) if name and os.path.exists(name)]  # noqa: PTH110 - see above
