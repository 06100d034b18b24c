"""Crashes before a server is ready (R28): a traceback where it is started, and nothing is left."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.crash.restarting import NOBODY, SEARCHED, interpreter_for_nobody
from tests.support.daemons import Daemon, Daemons, reaper
from tests.support.servers import TIMEOUT, until

FAULT = """
import ctypes, os, threading
def fault():
    ctypes.string_at(0)
"""

MOMENTS = {
    "when it is loaded": "fault()",
    "in ws_init_func": "ws_init_func = fault",
    "in a thread when its files are there": """
import dorrit.process.credentials.privileges
def drop(identity):
    threading.Thread(target=fault).start()
    threading.Event().wait()
dorrit.process.credentials.privileges.drop = drop
""",
    "when its privileges are to go": """
import dorrit.process.credentials.privileges
dorrit.process.credentials.privileges.drop = lambda _: fault()
""",
    "when its privileges are gone": """
import dorrit.process.credentials.privileges
_drop = dorrit.process.credentials.privileges.drop
def drop(identity):
    _drop(identity)
    fault()
dorrit.process.credentials.privileges.drop = drop
""",
    "when it listens": """
import dorrit.process.control.status_socket
dorrit.process.control.status_socket.StatusSocket.listen = lambda *_: fault()
""",
    "when a crash is a restart already": """
import dorrit.process.fork.daemon, dorrit.process.control.notify
dorrit.process.fork.daemon.Readiness.ready = lambda _: fault()
dorrit.process.control.notify.Notifier.ready = lambda *_, **__: fault()
""",
}
"""What a server's file does so that it crashes then. Where no code of a user's runs it takes the
place of a step."""

SILENT = "when a crash is a restart already"
"""The traceback is in the file for the next image by then."""

OBJECTS = """
from dorrit import Server
app = Server("NAME")
@app.on_start
async def started():
    fault()
@app.on_message
def said(conn, message):
    pass
"""


@pytest.fixture
def daemon(directory: Path) -> Iterator[Daemon]:
    with reaper():
        made = Daemons(directory)
        yield made()
        made.close()


def write(daemon: Daemon, moment: str) -> str:
    """Write the server's file; return what stands for the server on a command line."""
    if moment == "in on_start":
        daemon.file.write_text(FAULT + OBJECTS.replace("NAME", daemon.name))
        return f"{daemon.file}:app"
    source = f"{FAULT}{MOMENTS[moment]}\n"
    daemon.write("")
    text = daemon.file.read_text()
    late = moment == "in ws_init_func"  # in the place of what sets its name
    daemon.file.write_text(text + source if late else source_first(text, source))
    return str(daemon.file)


def source_first(text: str, source: str) -> str:
    """Put code before the function that sets the server's name, which calls what stands there."""
    before, mark, after = text.rpartition("_init = ws_init_func")
    return before + source + mark + after


def expect_traceback(said: str, moment: str, file: Path) -> None:
    if moment != SILENT:
        assert said.count("Fatal Python error: Segmentation fault") == 1
        assert re.search(rf'File "{file}", line \d+ in fault\n', said)


@pytest.mark.parametrize("moment", [*MOMENTS, "in on_start"])
def test_R28_a_daemon_of_roots_that_crashes_before_it_is_ready_leaves_nothing(
    daemon: Daemon, moment: str
) -> None:
    server = write(daemon, moment)
    ended = daemon.run(command=command_of(daemon, server))
    first = moment in {"when it is loaded", "in ws_init_func"}
    assert ended.returncode == (-signal.SIGSEGV if first else 1)
    if not first:
        line = "dorrit: the server was ended by SIGSEGV before it was ready\n"
        assert ended.stderr.endswith(line)
    expect_traceback(ended.stderr, moment, daemon.file)
    until(lambda: not daemon.files, "the janitor")


def command_of(daemon: Daemon, server: str, *options: str) -> list[str]:
    words = daemon.command(*options)
    return [server if word == str(daemon.file) else word for word in words]


@pytest.mark.parametrize("user", ["root", "root that becomes nobody", "nobody"])
@pytest.mark.parametrize("moment", [*MOMENTS, "in on_start"])
def test_R28_a_server_in_the_foreground_that_crashes_before_it_is_ready_leaves_nothing(
    daemon: Daemon, moment: str, user: str
) -> None:
    directory = daemon.file.parent / "place"
    directory.mkdir()
    if user == "nobody":
        os.chown(directory, NOBODY, NOBODY)
    daemon.path = directory / "socket"
    words = command_of(daemon, write(daemon, moment), "-x", "-l", str(daemon.path))
    settings: dict[str, object] = {}
    environment = os.environ | {"PYTHONPATH": SEARCHED}
    if user == "root":
        words += ["-u", "root", "-g", "root"]
        environment["PYTHONFAULTHANDLER"] = "1"
    elif user == "nobody":
        words = [interpreter_for_nobody(), *words[1:]]
        settings = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    ended = subprocess.run(
        words, capture_output=True, text=True, timeout=TIMEOUT, check=False, stdin=-3,
        env=environment, **settings,
    )  # type: ignore[call-overload] # fmt: skip
    assert ended.returncode == -signal.SIGSEGV, ended.stderr
    expect_traceback(ended.stderr, moment, daemon.file)
    until(lambda: not list(directory.iterdir()), "the janitor")
