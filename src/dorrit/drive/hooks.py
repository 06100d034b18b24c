"""The functions of a server that are called once: before its first client, and after the last."""

import logging
import sys
from collections.abc import Callable
from typing import NoReturn

from dorrit.drive.application import Application
from dorrit.drive.driver import ServerLoop
from dorrit.errors import StartError
from dorrit.logger import log_raised
from dorrit.process.exit.forked import ended_in_children
from dorrit.raised import attempt, summary_of, traceback_of


def init(application: Application, *, in_log: bool) -> None:
    """Run ``ws_init_func`` (R7), which may set the server's name.

    Args:
        application: Whose it is.
        in_log: What it raises goes to the log; otherwise to stderr, where somebody waits for it.

    Raises:
        StartError: It has raised.
    """

    def refuse(error: BaseException) -> NoReturn:
        if in_log:
            log_raised(logging.ERROR, "ws_init_func raised", error)
        else:
            sys.stderr.write(traceback_of(error))
        raise StartError(f"ws_init_func raised {summary_of(error)}") from None

    attempt(application.init, refuse)


def start(loop: ServerLoop) -> None:
    """Run the start handler.

    Raises:
        StartError: It has raised, or has not ended in time.
    """

    def refuse(error: BaseException) -> NoReturn:
        if issubclass(type(error), StartError):
            raise error
        log_raised(logging.ERROR, "the start handler raised", error)
        raise StartError(f"on_start raised {summary_of(error)}") from None

    attempt(lambda: _call(loop.start), refuse)


def stop(loop: ServerLoop) -> bool:
    """Run the stop handler; return whether it has not raised."""
    return attempt(lambda: _call(loop.finish), lambda error: _log("the stop handler", error))


def end(application: Application) -> bool:
    """Run ``ws_exit_func`` (R8); return whether it has not raised."""
    return attempt(lambda: _call(application.exit), lambda error: _log("ws_exit_func", error))


def _call(function: Callable[[], object]) -> bool:
    with ended_in_children():
        function()
    return True


def _log(name: str, error: BaseException) -> bool:
    log_raised(logging.ERROR, f"{name} raised", error)
    return False
