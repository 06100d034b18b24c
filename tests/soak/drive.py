"""One server of the soak: scene after scene, crashes in between, and samples of what it holds."""

import contextlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.soak.guest import Guest
from tests.soak.scenes import SCENES, Stage
from tests.soak.verdict import Sample
from tests.support.proc import descriptors, private_bytes, private_bytes_of
from tests.support.servers import Run, until

ROOT: Final = Path(__file__).parents[2]

SERVERS: Final = {
    "plain": ("--slow-clients", "refuse", "--deflate", "--access-log"),
    "asynchronous": ("--slow-clients", "close", "--deflate", "--deflate-takeover", "both"),
    "functions": ("--rfc", "--deflate"),
}
"""The servers, each with options of its own."""

FILES: Final = {"functions": "tests/soak/five_functions.py"}
"""What they are served from, if it is not the server of that name in `servers.py`."""

OPTIONS: Final = (
    *("--health", "/health", "--ping-interval", "5", "--ping-timeout", "300"),
    *("--handshake-timeout", "5", "--log-format", "json"),
)

SCENES_OF_A_ROUND: Final = 12

REST: Final = 5.0
"""Seconds in which those who have gone must be no connections any more."""

CLOSING: Final = 1.0
"""And seconds from then on after which a descriptor that is still there is one too many."""

IDLE: Final = 2.0
"""How long nothing is done after each scene, in terms of how long that took."""

CRASH_EACH: Final = 20.0
"""Seconds between two crashes: a server that crashes more often waits before it serves again."""

WILD: Final = 1 / 6
"""Which part at the beginning, and at the end, has crashes: what is between them is one image."""

CRASHES: Final = ("null", "abort", "signal")

KNOWN: Final = re.compile(
    r"\bPlanned|SIGSEGV|SIGABRT|CancelledError|the server runs as root|child process"
)
"""What is in the log's warnings and errors that belong here."""


class Length:
    """How long it goes on: for some time, or for as many rounds as are the same each time."""

    def __init__(self, seconds: float, rounds: int | None) -> None:
        self._began = time.monotonic()
        self._seconds = seconds
        self._rounds = rounds
        self.crash_each = CRASH_EACH if rounds is None else 0.0

    def progress(self, rounds: int) -> float:
        """The part that is over, when so many rounds are."""
        if self._rounds is not None:
            return rounds / self._rounds
        return (time.monotonic() - self._began) / self._seconds


class Drive:
    """Drives one server.

    Attributes:
        samples: What it held, in the order of time.
        crashes: How many it has survived.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        random: Random,
        length: Length,
        fault: str,
    ) -> None:
        self.name = name
        self.samples: list[Sample] = []
        self.crashes = 0
        self._random = random
        self._length = length
        self._log = directory / "log"
        command = [sys.executable, "-m", "dorrit", "serve"]
        command += [FILES.get(name, f"tests.soak.servers:{name}"), "-x"]
        command += ["-l", str(directory / "socket"), "--log", str(self._log), *OPTIONS]
        command += [*SERVERS[name], "-u", str(os.geteuid()), "-g", str(os.getegid())]
        command += ["-f", fault] if fault else []
        self.run = Run(command, directory, cwd=ROOT)
        self.stage = Stage(
            self.run.path,
            random,
            is_async=name == "asynchronous",
            has_threads=name != "functions",
            closes_slow="close" in SERVERS[name],
        )
        self._image = ""

    def soak(self) -> None:
        """Go on until the time is over; AssertionError: something was lost."""
        until(self._is_listening, "the server's start")
        self._image = self._state()["image"]
        crashed = time.monotonic()
        self.stage.invite()
        rounds = 0
        while (progress := self._length.progress(rounds)) < 1:
            rounds += 1
            self._play_round()
            self._rest()
            if self._random.random() < 0.1:
                self._rotate_log()
            is_wild = not WILD < progress < 1 - WILD
            if is_wild and time.monotonic() - crashed >= self._length.crash_each:
                self._crash()
                crashed = time.monotonic()
        for guest in self.stage.residents:
            guest.close()
        self._rotate_log()
        self.run.process.send_signal(signal.SIGTERM)
        assert self.run.wait() == 0, "the server did not end in order"

    def _is_listening(self) -> bool:
        assert self.run.process.poll() is None, self._log.read_text()
        return self._log.exists() and "listening on " in self._log.read_text()

    def _play_round(self) -> None:
        scenes = self._random.choices(list(SCENES), list(SCENES.values()), k=SCENES_OF_A_ROUND)
        for scene in scenes:
            began = time.monotonic()
            try:
                scene(self.stage)
            except BaseException as error:
                error.add_note(f"{self.name}: in {scene.__name__}")
                raise
            time.sleep(min(1.0, IDLE * (time.monotonic() - began)))

    def _state(self) -> dict[str, Any]:
        """What the server says of itself; it is the one that we have started."""
        guest = Guest(self.run.path, self._random)
        with guest.socket:
            words = guest.command("!state")
        state: dict[str, Any] = json.loads(words.removeprefix("state "))
        assert state["pid"] == self.run.pid, "another process serves"
        return state

    def _rest(self) -> None:
        """Wait until only those are there that stay, and take a sample."""
        end = time.monotonic() + REST
        fewest = min((sample.descriptors for sample in self.samples), default=0)
        is_calm = False
        while True:
            state = self._state()
            assert state["image"] == self._image, "it crashed by itself"
            if not is_calm and state["connections"] == len(self.stage.residents) + 1:
                is_calm = True
                end = time.monotonic() + CLOSING
            time.sleep(0.02)  # for the end of the one that has asked
            opened = len(descriptors(self.run.pid))
            if (is_calm and opened <= fewest) or time.monotonic() > end:
                break
        assert is_calm, f"{state['connections']} connections are left"
        ledger = private_bytes_of(self.run.pid, "dorrit-connections")
        self.samples.append(
            Sample(
                self.crashes,
                self.stage.tally["clients"],
                private_bytes(self.run.pid) - ledger,
                state["blocks"],
                opened,
                ledger,
            )
        )

    def _crash(self) -> None:
        """Crash it; the same process serves again, and has only what it had at first."""
        guest = Guest(self.run.path, self._random)
        guest.say(f"!crash {self._random.choice(CRASHES)}")
        assert guest.close_code() == 1011
        guest.socket.close()
        before, self._image = self._image, self._state()["image"]
        assert self._image != before, "it did not crash"
        self.crashes += 1
        self.stage.outlive()

    def _rotate_log(self) -> None:
        """Have it open its log anew, and see that the old one has nothing that does not belong."""
        old = self._log.with_name("log.1")
        self._log.rename(old)
        self.run.process.send_signal(signal.SIGHUP)
        until(self._log.exists, "the new log")
        for line in old.read_text().splitlines():
            with contextlib.suppress(KeyError):
                record = json.loads(line)
                if record["level"] in {"warning", "error", "critical"}:
                    assert KNOWN.search(line), f"{self.name}: {line}"
