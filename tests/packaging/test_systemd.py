"""The systemd units: right, tightly sandboxed, and their command is one that `dorrit` takes."""

import configparser
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dorrit.drive.supervisor import SLACK
from dorrit.settings import Settings
from tests.support import proc
from tests.support.servers import FIVE, Servers

UNITS = Path(__file__).parents[2] / "packaging" / "systemd"

EXPOSURE = 1.0
"""What systemd-analyze calls "SAFE" ends at 2.0; 10.0 is a service without a sandbox."""

COMMAND = "/usr/local/bin/dorrit"


class Unit(configparser.RawConfigParser):
    """A unit file; of what is set more than once, the last."""

    def __init__(self, name: str) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",))
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read(UNITS / name)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a command that there is on this machine."""
    for path in UNITS.iterdir():
        text = path.read_text()
        (tmp_path / path.name).write_text(text.replace(COMMAND, "/bin/true"))
    return tmp_path


def analyze(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("instance", ["", "chat"])
@pytest.mark.parametrize("kind", ["service", "socket"])
def test_R37_systemd_has_nothing_to_say_about_the_units(
    units: Path, kind: str, instance: str
) -> None:
    # The manual pages are looked at elsewhere.
    told = analyze("verify", "--man=no", f"./dorrit@{instance}.{kind}", folder=units)
    assert (told.returncode, told.stdout) == (0, "")


def test_systemd_says_what_is_wrong(units: Path) -> None:
    with (units / "dorrit@.service").open("a") as file:
        file.write("\n[Service]\nProtectSytem=strict\n")
    told = analyze("verify", "--man=no", "./dorrit@chat.service", folder=units)
    assert "ProtectSytem" in told.stdout


def test_R37_the_sandbox_is_tight(units: Path) -> None:
    threshold = f"--threshold={int(EXPOSURE * 10)}"
    told = analyze("security", "--offline=true", threshold, "./dorrit@.service", folder=units)
    assert told.returncode == 0, told.stdout
    exposure = re.search(r"Overall exposure level for .*: ([\d.]+) ", told.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= EXPOSURE


def test_R37_what_the_manager_is_told_to_expect() -> None:
    service = Unit("dorrit@.service")["Service"]
    assert service["Type"] == "notify"
    assert service["NotifyAccess"] == "main"
    assert service["WatchdogSec"] == "30s"
    assert service["KillMode"] == "mixed"
    # A worker that the kernel has ended is its supervisor's matter.
    assert service["OOMPolicy"] == "continue"
    assert service["CapabilityBoundingSet"] == ""
    assert int(service["LimitNOFILE"]) >= 16384 + 64 + 1024  # -m, and what else is open


def test_R37_systemd_waits_longer_for_a_stop_than_the_supervisor_waits_for_its_worker() -> None:
    seconds = Unit("dorrit@.service")["Service"]["TimeoutStopSec"]
    assert seconds.endswith("s")
    settings = Settings()
    for_worker = settings.stop_timeout + 3 * settings.stop_grace + SLACK
    assert float(seconds.removesuffix("s")) > for_worker


def test_R37_both_units_mean_the_same_socket_with_the_mode_of_the_manual() -> None:
    service, sockets = Unit("dorrit@.service")["Service"], Unit("dorrit@.socket")["Socket"]
    path = sockets["ListenStream"]
    assert f" -l {path} " in service["ExecStart"]
    assert Path(path).parent == Path("/run") / service["RuntimeDirectory"]
    assert sockets["SocketUser"] == service["User"]
    assert sockets["SocketGroup"] == service["Group"]
    # R25: srwxrwx---
    assert stat.filemode(stat.S_IFSOCK | int(sockets["SocketMode"], 8)) == "srwxrwx---"
    assert sockets["Accept"] == "no"
    # It would go with the directory.
    assert service["RuntimeDirectoryPreserve"] == "yes"


OBJECT = """
import dorrit

app = dorrit.Server("chat")

@app.on_message
def echo(conn, message):
    conn.send(message)
"""


@pytest.mark.parametrize("source", [FIVE, OBJECT], ids=["five functions", "an object"])
def test_R37_the_command_of_the_unit_runs_a_server_with_a_supervisor(
    servers: Servers, source: str
) -> None:
    command = Unit("dorrit@.service")["Service"]["ExecStart"]
    runtime = servers.directory / "run" / "dorrit" / "chat"
    runtime.mkdir(parents=True)
    library = servers.directory / "lib"
    library.mkdir()
    (library / "chat.py").write_text(source)
    user = f"-u {os.geteuid()} -g {os.getegid()}"  # systemd has made it the server's by then
    words = []
    for word in shlex.split(command.replace("%i", "chat")):
        if word == COMMAND:
            words += [sys.executable, "-m", "dorrit"]
        elif word == "$OPTIONS":
            words += shlex.split(f"-m 100 --log-level info {user}")
        else:
            here = word.replace("/run/dorrit/chat", str(runtime))
            words.append(here.replace("/usr/local/lib/dorrit", str(library)))
    run = servers.start(*words).until_listening()
    servers.path = runtime / "chat.socket"
    assert servers.connect().ask("hello") == "hello"
    assert len(proc.children(run.pid)) == 1, run.err
    assert "dorrit.drive.supervisor" in Path(f"/proc/{run.pid}/cmdline").read_text()
    assert servers.stop(run) == 0
