"""The shipped unit in a systemd that a test boots, with clients that send all the time."""

import json
import os
import stat
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.server import AT_ONCE, HERE, LOST_BY_KILL
from tests.live.traffic import ROOT, compiled
from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody

UNIT = ROOT / "packaging" / "systemd" / "dorrit@.service"
MEMORY = "MemoryMax=256M"
"""What an administrator adds, so that there is an end of memory."""

PASSWD = """\
root:x:0:0::/root:/bin/sh
messagebus:x:100:100::/nonexistent:/usr/sbin/nologin
dorrit:x:900:33::/:/usr/sbin/nologin
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\nadm:x:4:\ntty:x:5:\nwww-data:x:33:\nmessagebus:x:100:\nnogroup:x:65534:\n"


@dataclass
class Restarted:
    """What `systemd_restarts` has found.

    Attributes:
        times: How often the worker has come to its end in each way.
        shown: It, as it was printed.
        output: All that was printed, for a failure.
        journal: What the unit has logged.
    """

    times: int
    shown: dict[str, Any]
    output: str
    journal: str

    def kept_everybody(self, restarts: str) -> None:
        """Assert that nobody has noticed these, and that it was one process all the time."""
        found = self.shown[restarts]["found"]
        assert (found["lost"], found["codes"]) == (0, {}), self.output
        self.kept_messages(restarts)

    def kept_all_but_two(self, restarts: str) -> None:
        """Assert that each of these has cost two connections at the most, and no message else."""
        found = self.shown[restarts]["found"]
        assert found["lost"] <= self.times * LOST_BY_KILL, self.output
        assert found["codes"].keys() <= {"1012", "503"}, self.output
        self.kept_messages(restarts)

    def kept_messages(self, restarts: str) -> None:
        """Assert that no message was wrong, and that it was one process all the time."""
        found = self.shown[restarts]["found"]
        assert found["wrong"] == 0, self.output
        assert found["answers"] > 0
        assert self.shown[restarts]["pids"] == self.times * [self.shown["started"]], self.output
        assert (self.shown["restarts"], self.shown["result"]) == ("0", "success"), self.output


def restarts(
    boot: Callable[..., str],
    directory: Path,
    times: int,
    ways: Iterable[str],
    added: str = MEMORY,
) -> Restarted:
    """Boot a systemd, and have the worker of the unit come to its end so often in each way.

    Args:
        boot: Boots one: that of `tests.support.systemd`, or of another machine.
        directory: An empty one.
        times: How often.
        ways: Some of `systemd_restarts`.
        added: What is added to the unit.
    """
    python = interpreter_for_nobody()
    searched = os.pathsep.join((SEARCHED, str(ROOT)))
    command = directory / "dorrit"
    command.write_text(
        f"#!/bin/sh\nPYTHONPATH={searched}:{AT_ONCE} PYTHONDONTWRITEBYTECODE=1 "
        f'exec {python} -m dorrit "$@"\n'
    )
    command.chmod(0o755)
    (directory / "passwd").write_text(PASSWD)
    (directory / "group").write_text(GROUP)
    (directory / "options").write_text('OPTIONS="--rfc"\n')
    test = directory / "test"
    test.mkdir()
    directory.chmod(directory.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
    output = boot(
        test,
        textwrap.dedent(f"""
            cd {ROOT}
            PYTHONPATH={searched} {python} -m tests.live.systemd_restarts /usr/local/bin/traffic \\
                /run/dorrit/numbered/numbered.socket {times} {" ".join(ways)} \\
                || echo "failed: $?"
            journalctl --no-pager --quiet --output=cat --unit=dorrit@numbered
            journalctl --no-pager --quiet --output=cat --dmesg
        """),
        units={
            UNIT.name: UNIT.read_text(),
            f"{UNIT.name}.d/added.conf": f"[Service]\n{added}\n",
        },
        files={
            "/usr/local/bin/dorrit": command,
            "/usr/local/bin/traffic": compiled(),
            "/usr/local/lib/dorrit/numbered.py": HERE / "numbered.py",
            "/etc/passwd": directory / "passwd",
            "/etc/group": directory / "group",
            "/etc/default/dorrit-numbered": directory / "options",
        },
        folders=(ROOT, *(Path(place) for place in SEARCHED.split(os.pathsep))),
    )
    first, *journal = output.splitlines()
    assert first.startswith("{"), output
    return Restarted(times, json.loads(first), output, "\n".join(journal))
