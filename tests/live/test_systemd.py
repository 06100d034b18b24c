"""The shipped unit under a real systemd: it is reloaded, and crashes, while clients send."""

import json
import os
import stat
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live.server import AT_ONCE, HERE
from tests.live.traffic import ROOT, compiled
from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support.systemd import boot

UNIT = ROOT / "packaging" / "systemd" / "dorrit@.service"
TIMES = 5

PASSWD = """\
root:x:0:0::/root:/bin/sh
messagebus:x:100:100::/nonexistent:/usr/sbin/nologin
dorrit:x:900:33::/:/usr/sbin/nologin
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\nadm:x:4:\ntty:x:5:\nwww-data:x:33:\nmessagebus:x:100:\nnogroup:x:65534:\n"


pytestmark = [pytest.mark.root, pytest.mark.needs("systemd-nspawn")]


@dataclass
class Restarted:
    """What `systemd_restarts` has found.

    Attributes:
        shown: It, as it was printed.
        output: All that was printed, for a failure.
        journal: What the unit has logged.
    """

    shown: dict[str, Any]
    output: str
    journal: str

    def kept_everybody(self, restarts: str) -> None:
        """Assert that nobody has noticed these, and that it was one process all the time."""
        found = self.shown[restarts]["found"]
        assert (found["lost"], found["wrong"], found["codes"]) == (0, 0, {}), self.output
        assert found["answers"] > 0
        assert self.shown[restarts]["pids"] == TIMES * [self.shown["started"]], self.output
        assert (self.shown["restarts"], self.shown["result"]) == ("0", "success"), self.output


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Restarted:
    """The unit has been reloaded, and then has crashed, several times under traffic."""
    tmp_path = tmp_path_factory.mktemp("systemd")
    python = interpreter_for_nobody()
    searched = os.pathsep.join((SEARCHED, str(ROOT)))
    command = tmp_path / "dorrit"
    command.write_text(
        f"#!/bin/sh\nPYTHONPATH={searched}:{AT_ONCE} PYTHONDONTWRITEBYTECODE=1 "
        f'exec {python} -m dorrit "$@"\n'
    )
    command.chmod(0o755)
    (tmp_path / "passwd").write_text(PASSWD)
    (tmp_path / "group").write_text(GROUP)
    (tmp_path / "options").write_text('OPTIONS="--rfc"\n')
    test = tmp_path / "test"
    test.mkdir()
    tmp_path.chmod(tmp_path.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
    output = boot(
        test,
        textwrap.dedent(f"""
            cd {ROOT}
            PYTHONPATH={searched} {python} -m tests.live.systemd_restarts /usr/local/bin/traffic \\
                /run/dorrit/numbered/numbered.socket {TIMES} || echo "failed: $?"
            journalctl --no-pager --quiet --output=cat --unit=dorrit@numbered
        """),
        units={UNIT.name: UNIT.read_text()},
        files={
            "/usr/local/bin/dorrit": command,
            "/usr/local/bin/traffic": compiled(),
            "/usr/local/lib/dorrit/numbered.py": HERE / "numbered.py",
            "/etc/passwd": tmp_path / "passwd",
            "/etc/group": tmp_path / "group",
            "/etc/default/dorrit-numbered": tmp_path / "options",
        },
        folders=(ROOT, *(Path(place) for place in SEARCHED.split(os.pathsep))),
    )
    first, *journal = output.splitlines()
    assert first.startswith("{"), output
    return Restarted(json.loads(first), output, "\n".join(journal))


def test_L1_systemctl_reload_keeps_every_client_and_the_main_process(restarted: Restarted) -> None:
    restarted.kept_everybody("reloads")
    assert restarted.journal.count(" connections were carried over in ") == TIMES


def test_L3_a_crash_keeps_every_client_the_main_process_and_the_unit_active(
    restarted: Restarted,
) -> None:
    restarted.kept_everybody("crashes")
    assert restarted.journal.count(" connections go on after the crash") == TIMES
