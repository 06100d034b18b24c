"""The shipped unit under a real systemd: it is reloaded while clients send all the time."""

import json
import os
import stat
import textwrap
from pathlib import Path

import pytest

from tests.live.server import HERE
from tests.live.traffic import ROOT, compiled
from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support.systemd import boot

UNIT = ROOT / "packaging" / "systemd" / "dorrit@.service"
RELOADS = 5

PASSWD = """\
root:x:0:0::/root:/bin/sh
messagebus:x:100:100::/nonexistent:/usr/sbin/nologin
dorrit:x:900:33::/:/usr/sbin/nologin
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\nadm:x:4:\ntty:x:5:\nwww-data:x:33:\nmessagebus:x:100:\nnogroup:x:65534:\n"


@pytest.mark.root
@pytest.mark.needs("systemd-nspawn")
def test_L1_systemctl_reload_keeps_every_client_and_the_main_process(tmp_path: Path) -> None:
    python = interpreter_for_nobody()
    searched = os.pathsep.join((SEARCHED, str(ROOT)))
    command = tmp_path / "dorrit"
    command.write_text(
        f'#!/bin/sh\nPYTHONPATH={searched} PYTHONDONTWRITEBYTECODE=1 exec {python} -m dorrit "$@"\n'
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
            PYTHONPATH={searched} {python} -m tests.live.systemd_reloads /usr/local/bin/traffic \\
                /run/dorrit/numbered/numbered.socket {RELOADS} || echo "failed: $?"
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
    result = json.loads(first)
    found = result["found"]
    assert (found["lost"], found["wrong"], found["codes"]) == (0, 0, {}), output
    assert found["answers"] > 0
    assert len(set(result["pids"])) == 1
    assert result["result"] == "success"
    assert "\n".join(journal).count(" connections were carried over in ") == RELOADS, output
