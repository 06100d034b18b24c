"""The supervisor's next image: after a reload with a newer dorrit the supervisor is that as well.

The process stays, and so does what it holds, as when a server is reloaded alone. Its workers notice
nothing: no more is said between the two images than where they are.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, Self

from dorrit.drive.worker_process import WorkerProcess
from dorrit.errors import StartError
from dorrit.process.control.signals import SignalHandlers
from dorrit.process.crash import restart
from dorrit.process.exec.command import Command
from dorrit.process.exec.handover import Handover
from dorrit.process.log.log import Log
from dorrit.process.start.workers import PROTOCOL, Hello, WorkerFiles

logger: logging.Logger = logging.getLogger("dorrit")

CHECK: Final = "--check"
"""What the program is told that only says whether it can be loaded, and speaks with a worker."""

WORKER: Final = "worker's "
SPARE: Final = "spare worker's "
"""What the names of their descriptors begin with, in a handover."""


class Place(NamedTuple):
    """Where a supervisor is, for its next image.

    Attributes:
        hello: What the worker that serves has said first.
        spare: The spare worker's process, and what it has said first; None: there is none.
        generation: See `Roster.state`.
        entries: Likewise.
    """

    hello: Hello
    spare: tuple[int, Hello] | None
    generation: int
    entries: list[tuple[int, int, int]]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return what JSON has made of one.

        Raises:
            StartError: It is nothing of that kind.
        """
        try:
            spare = content["spare"]
            return cls(
                Hello(*content["hello"]),
                None if spare is None else (spare[0], Hello(*spare[1])),
                content["generation"],
                [(descriptor, number, flags) for descriptor, number, flags in content["entries"]],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StartError(
                f"the supervisor's last image has left what can't be: {error!r}"
            ) from None


def kept_of(worker: WorkerProcess, channel: int, whose: str) -> dict[str, int]:
    """Return the descriptors of a worker as a handover has them."""
    files = worker.files._replace(channel=channel)
    return {whose + what: number for what, number in files._asdict().items()}


def files_in(handover: Handover, whose: str) -> WorkerFiles:
    """Return them again."""
    return WorkerFiles(*(handover.kept[whose + field] for field in WorkerFiles._fields))


def spare_in(handover: Handover, place: Place) -> WorkerProcess | None:
    """Return the spare worker that the last image has had."""
    if place.spare is None:
        return None
    files = files_in(handover, SPARE)
    spare = WorkerProcess(place.spare[0], files, files.channel, is_spare=True)
    spare.hello = place.spare[1]
    return spare


def begin_check(command: Command, hello: Hello) -> int:
    """Look in another process whether the next image can be run, and speaks with the worker.

    Returns:
        Its pid; it exits with 0 if that is so.

    Raises:
        OSError: It can't be started.
    """
    words = [command.program, *command.arguments, CHECK, str(hello.protocol)]
    environment = dict(variable.split(b"=", 1) for variable in command.environment)
    return os.posix_spawn(command.program, words, environment)


def check(arguments: list[str]) -> int | None:
    """Return the exit status of such a process; None: this is the supervisor itself."""
    if CHECK not in arguments:
        return None
    return 0 if arguments[-1] == str(PROTOCOL) else 1


def go_on_as_next_image(
    handover: Handover,
    place: Place,
    supervised: Mapping[str, Any],
    *,
    command: Command,
    log: Log,
    handlers: SignalHandlers,
) -> None:
    """Replace the image of this process; return if that is not possible, and all is as it was.

    Args:
        handover: It has the descriptors that are kept, and none of connections.
        place: Where the supervisor is.
        supervised: What it was told itself when it became the supervisor.
        command: How this image was started.
        log: Its log.
        handlers: Its signal handlers.
    """
    descriptor, prefix = log.crash_report()
    carried = tuple(descriptor for descriptor, _, _ in place.entries)
    try:
        restart.be_replaced(
            replace(handover, carried=carried, supervised={**supervised, "place": place._asdict()}),
            command,
            catches=False,
            report=descriptor,
            prefix=prefix,
        )
        restart.replace_now()
        why = "the line above says why"
    except OSError as error:
        why = str(error.strerror)
    logger.error("the supervisor stays as it is: %s", why)
    handlers.install(daemon=handover.daemon)
    restart.release_signals()
