"""A live server, attackers and an honest client beside them; and what must be left afterwards."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.attacks.honest import Figures, Honest
from tests.support.frames import REQUEST
from tests.support.proc import descriptors, status
from tests.support.servers import TIMEOUT, Run, Servers, until

ROOT: Final = Path(__file__).parents[2]

SECONDS: Final = 0.5
"""How long an attack takes at least."""

NOTHING: Final[Mapping[str, int]] = {}

MEMORY_LEFT: Final = 48 << 20
"""Bytes that the allocator may keep of what the server has needed, over what it had before."""

LOG_MAX: Final = 32 << 10
"""Bytes that an attack may add to the log: a hundred lines or two."""

OBJECT: Final = """
import dorrit
app = dorrit.Server("attacked")

@app.on_message
def said(conn, message):
    conn.send(message)
"""

ASYNC: Final = """
import asyncio
import dorrit
app = dorrit.Server("attacked", event_loop="asyncio")

@app.on_message
async def said(conn, message):
    await asyncio.sleep(0)
    conn.send(message)
"""

QUIET: Final = REQUEST.replace(b"/chat", b"/quiet")
"""The request of a client that wants no feed."""

FEED: Final = """
import dorrit
app = dorrit.Server("attacked")
numbers = {}

@app.on_open
def came(conn):
    if conn.request.path != "/quiet":
        numbers[conn] = 0

@app.on_message
def said(conn, message):
    conn.send(message)

@app.on_close
def left(conn, code, reason):
    numbers.pop(conn, None)

@app.every(0.01)
def feed():
    # The same payload for everybody would be shared: this costs what it costs.
    for conn in numbers:
        if conn.send(f"feed {numbers[conn]} " + "x" * 50_000):
            numbers[conn] += 1
"""

KINDS: Final = {"five": "", "object": OBJECT, "async": ASYNC}
"""The servers that echo: the five functions, and objects with plain and async handlers."""


class Attackers:
    """Processes that attack until all have done what they must, and are told that it is enough.

    Attributes:
        reports: What each says that it has done, once they are over.
    """

    def __init__(
        self,
        address: Path | str,
        *names: str,
        seconds: float = SECONDS,
        least: Mapping[str, int] = NOTHING,
    ) -> None:
        self.reports: list[dict[str, Any]] = []
        command = [sys.executable, "-m", "tests.attacks.attackers"]
        arguments = [str(address), str(seconds), json.dumps(dict(least))]
        self._processes = [
            subprocess.Popen(
                [*command, name, *arguments],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stdin=subprocess.PIPE,
            )
            for name in names
        ]

    def tell_enough(self) -> None:
        """They need not go on once they have attacked for their time."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
                process.stdin = None  # or `communicate` would look at it again

    def are_over(self) -> bool:
        return all(process.poll() is not None for process in self._processes)

    def finish(self) -> dict[str, Any]:
        """Wait for all, and return what they have done together."""
        total: dict[str, Any] = {}
        for process in self._processes:
            out, _ = process.communicate(timeout=TIMEOUT)
            assert process.returncode == 0, "an attacker has failed"
            for name, number in json.loads(out).items():
                total[name] = total.get(name, 0) + number
        return total

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@dataclass(frozen=True, slots=True)
class State:
    """What a server's process holds."""

    descriptors: int
    memory: int

    @classmethod
    def of(cls, run: Run) -> "State":
        return cls(len(descriptors(run.pid)), memory_of(run))


def memory_of(run: Run) -> int:
    """Bytes of a server that are in memory."""
    return memory_of_pid(run.pid)


def memory_of_pid(pid: int) -> int:
    """Bytes of a process that are in memory."""
    return int(status(pid)["VmRSS"][0]) << 10


def processor_seconds(run: Run) -> float:
    """What a process has used of the processor."""
    words = Path(f"/proc/{run.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Arena:
    """A server under attack.

    Attributes:
        run: The server.
        honest: The client beside the attackers.
        quiet: Its figures before the attack.
        under_attack: And during it.
        memory: The most bytes that the server had in memory during an attack.
        is_over: The server has ended already.
    """

    def __init__(self, servers: Servers, run: Run, honest: Honest) -> None:
        self._servers = servers
        self.run = run
        self.honest = honest
        self.quiet = honest.go_on_for(0.3)
        self.under_attack = Figures()
        self.memory = 0
        self.is_over = False
        self._before = State.of(run)
        self._log_before = len(run.err)

    def attack(
        self,
        *names: str,
        seconds: float = SECONDS,
        until: Callable[[], bool] = lambda: True,
        **least: int,
    ) -> dict[str, Any]:
        """Have it attacked, with the honest client beside, and return what the attackers did.

        Args:
            names: The attacks.
            seconds: How long they take at least.
            until: What must come about meanwhile.
            least: And what each must have done.
        """
        attackers = Attackers(self._servers.path, *names, seconds=seconds, least=least)

        def over(figures: Figures) -> bool:
            self.memory = max(self.memory, memory_of(self.run))
            if self.honest.has_its_part(figures) and until():
                attackers.tell_enough()
            return attackers.are_over()

        try:
            self.under_attack = self.honest.go_on_until(over)
            return attackers.finish()
        finally:
            attackers.kill()

    @property
    def memory_gained(self) -> int:
        """The most bytes that the attack made the server take."""
        return self.memory - self._before.memory

    def check_aftermath(self) -> None:
        """Nothing is left of the attack, and the server ends in order."""
        until(self._has_no_more_descriptors, "the end of the attackers' connections")
        self.honest.go_on_for(0.1)
        left = State.of(self.run).memory - self._before.memory
        assert left < MEMORY_LEFT, f"{left} bytes are left of the attack"
        added = self.run.err[self._log_before :]
        assert len(added) < LOG_MAX, added[-2000:]
        assert "Traceback" not in added, added
        assert "a fault in dorrit" not in added, added
        self.check_that_it_rests()
        self.honest.close()
        assert self._servers.stop(self.run) == 0, self.run.err
        assert not self._servers.path.exists()

    def _has_no_more_descriptors(self) -> bool:
        return len(descriptors(self.run.pid)) <= self._before.descriptors

    def check_that_it_rests(self) -> None:
        """It does not use the processor for nothing: a loop that spins would use all of it."""
        before = processor_seconds(self.run)
        figures = self.honest.go_on_for(0.5)
        used = processor_seconds(self.run) - before
        assert used < 0.25, f"{used} seconds for {len(figures.messages)} messages"


def serve(servers: Servers, kind: str, *options: object) -> Run:
    """Start a server: one of `KINDS`, or the source of an object's."""
    source = KINDS.get(kind, kind)
    served: str | Path = source
    if "app = " in source:
        (servers.directory / "attacked.py").write_text(source)
        served = Path(f"{servers.directory}/attacked.py:app")
    return servers.serve(served, *options)


@contextlib.contextmanager
def arena(
    servers: Servers,
    kind: str,
    *options: object,
    request: bytes = REQUEST,
    newcomers: bool = True,
) -> Iterator[Arena]:
    """A server of a kind, with an honest client; what must be left is checked at the end.

    Args:
        servers: What starts it.
        kind: One of `KINDS`, or the source of an object's.
        options: Of the command line.
        request: Of the honest client.
        newcomers: Others come and go beside it.
    """
    run = serve(servers, kind, *options)
    honest = Honest(servers.path, request=request, newcomers=newcomers)
    try:
        made = Arena(servers, run, honest)
        yield made
        if not made.is_over:
            made.check_aftermath()
    finally:
        honest.close()
