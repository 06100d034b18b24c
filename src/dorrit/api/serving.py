"""Runs a procedural server in the foreground, from start to end, in the order of libdorrit(3)."""

import logging
import traceback
from contextlib import ExitStack, closing
from typing import Final

from dorrit.api.procedural import Program
from dorrit.engine import Engine
from dorrit.errors import StartError
from dorrit.process.limits import raise_descriptor_limit
from dorrit.process.listener import Listener
from dorrit.process.log import log_to_stderr
from dorrit.process.signals import stop_signals
from dorrit.settings import Settings

logger = logging.getLogger("dorrit")

DEFAULT_SOCKET_NAME: Final = "dorrit"

STOP_TIMEOUT: Final = 10.0
"""Seconds for clients to take in that the server stops."""

LINGERING_BESIDES: Final = 1024
"""Descriptors for connections that are over but have not been closed yet."""


def serve(program: Program, settings: Settings) -> int:
    """Run the server until it is told to stop.

    Returns:
        The exit status: 0, or 1 if ``ws_exit_func`` raised.

    Raises:
        StartError: It can't start. If ``ws_init_func`` was the reason, its traceback has been
            printed, and nothing has been created.
        SystemExit: A callback has called ``sys.exit``; the server was stopped in order.
    """
    if not settings.foreground:
        raise StartError(
            "this version does not become a daemon yet: add -x, and let your service manager keep "
            "the server in the background",
            status=2,
        )
    name = _init(program, settings)
    with ExitStack() as made:
        try:
            _run(program, settings, name, made)
        finally:
            # R27's order: every close callback has run, the socket is still there.
            clean = _exit(program)
    return 0 if clean else 1


def _init(program: Program, settings: Settings) -> str | None:
    """Run ``ws_init_func`` (R7) and return the server's name, if it set one."""
    try:
        return program.init(settings.config_file)
    except Exception as error:  # noqa: BLE001 - whatever the server's own code raises
        traceback.print_exc()
        raise StartError(f"ws_init_func raised {type(error).__name__}: {error}") from None


def _exit(program: Program) -> bool:
    """Run ``ws_exit_func``, once, after a ``ws_init_func`` that did not raise (R8)."""
    try:
        program.ws_exit_func()
    except Exception:
        logger.exception("ws_exit_func raised")
        return False
    return True


def _run(program: Program, settings: Settings, name: str | None, made: ExitStack) -> None:
    """Serve until a signal, or until a callback exits the program.

    Args:
        program: The server.
        settings: Its options.
        name: What it calls itself, or None.
        made: Undoes what is made here. The socket goes first, then the signals get their old
            handlers back, so that no signal can leave the socket behind.
    """
    log_to_stderr(settings.log_level)
    warning = raise_descriptor_limit(settings.max_connections, besides=LINGERING_BESIDES)
    if warning:
        logger.warning("%s", warning)
    engine = made.enter_context(
        closing(
            Engine(
                on_open=program.on_open,
                on_message=program.ws_read_callback,
                on_close=program.on_close,
                buffer_size=settings.buffer_size,
                max_connections=settings.max_connections,
            )
        )
    )
    made.enter_context(stop_signals(engine.stop, engine.wakeup_descriptor))
    path = settings.listen or f"/var/run/{name or DEFAULT_SOCKET_NAME}.socket"
    listener = made.enter_context(Listener(path))
    engine.listen(listener.descriptor)
    program.started(engine.every)
    logger.info("listening on %s", listener.path)
    try:
        engine.run()
    finally:
        logger.info("stopping")
        engine.shutdown(STOP_TIMEOUT)
