"""Finds what a server would stumble over at its start, without starting it (O3)."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dorrit.drive.application import Application
from dorrit.drive.choice import loop_type
from dorrit.drive.engine_settings import users_of
from dorrit.drive.lasting import lasting_facts
from dorrit.drive.run_settings import RunSettings
from dorrit.errors import StartError
from dorrit.process.credentials.privileges import check_group, check_user
from dorrit.process.exec.descriptors import open_standard_streams
from dorrit.process.exit import leaving
from dorrit.process.files.paths import LISTEN_ADVICE, check_length, socket_path, status_path
from dorrit.settings import Settings


def problems(load: Callable[[], Application], given: Mapping[str, Any]) -> list[StartError]:
    """Return what a server would stumble over; see `look`, which takes the same."""
    return look(load, given)[0]


def look(
    load: Callable[[], Application], given: Mapping[str, Any]
) -> tuple[list[StartError], dict[str, str | None]]:
    """Look for what a server would stumble over; nothing of it is called, and nothing made.

    Whoever runs this need not be who will run the server.

    Args:
        load: Loads the server's own code, which runs as it does at every import.
        given: The options that stood on the command line.

    Returns:
        What was found; and `lasting_facts`, if it could be loaded.
    """
    open_standard_streams()
    found = []
    application = None
    settings = RunSettings(given)
    try:
        application = settings.load(load)
    except StartError as error:
        found.append(error)
    except SystemExit as error:
        found.append(StartError(f"the server's code exits while it is loaded: {error.code}"))
    for step in _steps(application, settings.now):
        try:
            step()
        except StartError as error:
            found.append(error)
    return found, {} if application is None else lasting_facts(application, settings.now)


def _steps(application: Application | None, settings: Settings) -> Iterator[Callable[[], object]]:
    # As root, a server gets a user that nobody has chosen: there must be one, too.
    if settings.user is not None or os.geteuid() == 0:
        yield lambda: check_user(settings.user)
    if settings.group is not None or os.geteuid() == 0:
        yield lambda: check_group(settings.group)
    yield lambda: users_of(settings)
    path = settings.listen
    if path is None and application is not None and application.name is not None:
        path = socket_path(application.name)
    if path is not None:
        listening = path
        yield lambda: _check_lengths(listening)
    if application is not None:
        loaded = application
        yield lambda: loop_type(loaded, settings)


def _check_lengths(path: str) -> None:
    check_length(path, LISTEN_ADVICE)
    check_length(status_path(path))


def report(found: list[StartError]) -> int:
    """Print what was found, and have the process end soon; return its exit status."""
    for problem in found:
        sys.stderr.write(f"dorrit: {problem}\n")
    status = max((problem.status for problem in found), default=0)
    # Threads that the file has started are not a reason to wait for ever.
    leaving.leave_in_time(lambda: leaving.HURRIED, status)
    return status
