"""Servers that are reloaded, for the tests of that."""

import signal
import textwrap
from typing import Any

from tests.support.servers import Run, Servers, dorrit, until

VERSIONED = """
import atexit, signal
from pathlib import Path
from dorrit import Server

VERSION = {version}
app = Server()
atexit.register(lambda: say("atexit", VERSION))

def is_there(name):
    return Path(__file__).with_name(name).exists()

def start():
    say("start", VERSION, os.getpid())

def said(conn, text):
    conn.send(f"{{VERSION}} {{text}}")

def stop():
    say("stop", VERSION)
"""
"""A server that says which of its versions it is; what a test appends replaces what it names."""

REGISTERED = """
app.on_start(start)
app.on_message(said)
app.on_stop(stop)
"""
"""Comes last."""


class Reloaded:
    """A server whose code changes.

    Attributes:
        run: Its process.
        server: What the command line calls it.
    """

    run: Run
    server: str

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def write(self, version: int, source: str = "") -> None:
        """Write a version of its file."""
        source = VERSIONED.format(version=version) + textwrap.dedent(source) + REGISTERED
        self.server = f"{self._servers.write(source)}:app"

    def start(self, source: str = "", *options: object, **settings: Any) -> Run:
        """Write the first version, and run it until it listens."""
        self.write(1, source)
        self.run = self._servers.start(*self._servers.command(self.server, *options), **settings)
        return self.run.until_listening()

    def reload(self, *words: object) -> Run:
        """Run `dorrit reload` to its end."""
        return self._servers.run(*dorrit("reload", self._servers.path, *words))

    def ask(self) -> None:
        """Want a reload."""
        self.run.process.send_signal(signal.SIGUSR2)

    def until_reloaded(self, times: int = 1) -> None:
        """Wait until the new code has come to serve so often."""
        until(lambda: self.run.err.count(" reloaded: ") >= times, "the reload")

    def touch(self, *names: str) -> None:
        """Make files that the server's code looks for."""
        for name in names:
            (self._servers.directory / name).touch()

    def remove(self, *names: str) -> None:
        """Remove them."""
        for name in names:
            (self._servers.directory / name).unlink()
