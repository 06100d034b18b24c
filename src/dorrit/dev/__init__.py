"""Try a server on this machine without a web server: ``dorrit dev``.

For development only. What a web server would do in production is done here by a few small parts:

* ``front`` answers HTTP on 127.0.0.1, serves a test page or a directory, and passes upgrades on;
* ``splice`` carries the bytes of one upgraded connection both ways;
* ``supervisor`` runs the server as a child process and starts it again when its source changes;
* ``guard`` is the small process between the two, so that the server never outlives the command;
* ``watch`` knows which files belong to the server and reports their changes.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dorrit.dev.front import HEAD_TIMEOUT, Front, FrontSettings
from dorrit.dev.supervisor import GRACE, Supervisor
from dorrit.dev.watch import Watcher, source_directories
from dorrit.errors import StartError
from dorrit.settings import Settings

__all__ = ["run"]

ECHO = Path(__file__).with_name("echo.py")
"""A server for who has none yet."""


def say(text: str) -> None:
    """Write one line to stderr, where the server's own log goes too.

    One ``write`` for the whole line keeps the lines of several threads apart.
    """
    sys.stderr.write(f"dorrit dev: {text}\n")
    sys.stderr.flush()


def serve_command(server: str, socket_path: Path, options: Sequence[str]) -> list[str]:
    """Return the command that runs ``server`` in the foreground on ``socket_path``."""
    # -P: a file of the working directory shall not stand in for a module of the standard library.
    foreground = ["-x", "-l", str(socket_path)]
    return [sys.executable, "-P", "-m", "dorrit", "serve", server, *foreground, *options]


def grace_of(told: Mapping[str, Any]) -> float:
    """Return the seconds that the server has to stop, which are more if it was told so."""
    if "stop_timeout" not in told and "stop_grace" not in told:
        return GRACE
    default = Settings()
    seconds: float = told.get("stop_timeout", default.stop_timeout)
    seconds += told.get("stop_grace", default.stop_grace)
    return GRACE + seconds


def run(
    server: str,
    *,
    port: int,
    static: Path | None = None,
    config_file: Path | None = None,
    options: Sequence[str] = (),
    told: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Run ``server`` behind a small HTTP front on 127.0.0.1 until it is interrupted.

    Args:
        server: The server's file or module, as ``dorrit serve`` takes it.
        port: The TCP port of the front, 0 to 65535; 0 picks a free one.
        static: A directory to serve instead of the test page.
        config_file: A file whose change restarts the server as well.
        options: Further options for ``dorrit serve``.
        told: The settings that stand in the options, of which some concern the front as well.

    Returns:
        The exit status: 0 after SIGINT or SIGTERM; 1 if the port cannot be had; the server's own
        status if it could not be started the first time.

    Raises:
        StartError: The files that it is made of can't be looked for.
    """
    say("for development only, not for the public")
    try:
        directories = source_directories(server)
    except OSError as error:
        raise StartError(
            f"the working directory: {error.strerror}; go to another one, or give the absolute "
            "path of a file"
        ) from None
    # "The directory is readable, writable, and searchable only by the creating user ID", says the
    # library of the directories that mkdtemp makes.
    with tempfile.TemporaryDirectory(prefix="dorrit-dev-", ignore_cleanup_errors=True) as private:
        socket_path = Path(private, "server.socket")
        supervisor = Supervisor(
            serve_command(server, socket_path, options),
            socket_path,
            say=say,
            grace=grace_of(told),
        )
        try:
            front = Front(
                port,
                FrontSettings(
                    socket_path=socket_path,
                    static=static,
                    say=say,
                    is_server_expected=supervisor.is_running,
                    origins=told.get("origin", ()),
                    health=told.get("health"),
                    head_timeout=told.get("handshake_timeout", HEAD_TIMEOUT),
                ),
            )
        except OSError as error:
            say(f"cannot listen on 127.0.0.1:{port}: {error.strerror}")
            return 1
        watcher = Watcher(directories, config_file, on_change=supervisor.changed, say=say)
        with front, watcher:
            return supervisor.run(
                when_listening=f"open http://127.0.0.1:{front.port}/",
                is_watching=watcher.is_watching,
            )
