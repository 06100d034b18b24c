"""The rc.d script of FreeBSD, under a stand-in for its rc.subr (tests/packaging/rc.subr)."""

import contextlib
import os
import pwd
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support.log_daemon import log_daemon
from tests.support.proc import is_gone, status
from tests.support.servers import until

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "packaging" / "rc.d" / "dorrit"
SUBROUTINES = Path(__file__).with_name("rc.subr")
RUN = Path("/var/run")
INTERPRETER = interpreter_for_nobody()

PROGRAM = """\
#!{interpreter}
import dorrit

def ws_init_func(): dorrit.ws_set_name({name!r})
def ws_open_callback(conn, cookie): return 0
def ws_read_callback(conn, binary, data): pass
def ws_close_callback(conn): pass
def ws_exit_func(): pass

dorrit.main()
"""

VERBS = ("start", "stop", "restart", "status")


class Service:
    """A server with a name of its own, and its script."""

    def __init__(self, directory: Path) -> None:
        self.name = f"test{secrets.token_hex(4)}"
        self.pid_file = RUN / f"{self.name}.pid"
        self.configuration = directory / "rc.conf"
        self.configuration.touch()
        self.program = directory / f"{self.name}.py"
        self.program.write_text(PROGRAM.format(interpreter=INTERPRETER, name=self.name))
        self.program.chmod(0o755)
        # As the script itself says it.
        command = f"/PROVIDE/,$s/dorrit/{self.name}/g"
        assert command.replace(self.name, "chat") in SCRIPT.read_text()
        renamed = subprocess.run(
            ["sed", command, SCRIPT], capture_output=True, text=True, check=True
        ).stdout
        self.script = directory / self.name
        self.script.write_text(renamed.replace("/etc/rc.subr", str(SUBROUTINES)))

    def configure(self, **variables: str) -> None:
        values = {"program": str(self.program), "interpreter": INTERPRETER} | variables
        lines = [f'{self.name}_{variable}="{value}"\n' for variable, value in values.items()]
        self.configuration.write_text("".join(lines))

    def __call__(self, verb: str) -> tuple[int, str]:
        """Run the script; return its exit status and what it has said."""
        ran = subprocess.run(
            ["sh", self.script, verb],
            env=os.environ | {"RC_CONF": str(self.configuration), "PYTHONPATH": SEARCHED},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return ran.returncode, ran.stdout

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())


def is_alive(pid: int) -> bool:
    """Whether a process runs. One that has ended stays in /proc where nobody waits for it."""
    return not is_gone(pid)


@pytest.fixture
def service(directory: Path) -> Iterator[Service]:
    # Without root nobody can listen there; the tests that start a server are for root.
    with log_daemon() if os.geteuid() == 0 else contextlib.nullcontext():
        made = Service(directory)
        made.configure(enable="YES")
        yield made
        made("forcestop")
        made.pid_file.unlink(missing_ok=True)


def test_R37_it_is_right_in_any_shell() -> None:
    for command in (["sh", "-n"], ["shellcheck", "--shell=sh"]):
        ran = subprocess.run([*command, SCRIPT], capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert os.access(SCRIPT, os.X_OK)


def test_R37_rcorder_finds_what_it_provides_and_needs() -> None:
    lines = SCRIPT.read_text().splitlines()
    assert "# PROVIDE: dorrit" in lines
    assert "# REQUIRE: LOGIN" in lines
    assert "# KEYWORD: shutdown" in lines


def test_R37_renamed_it_speaks_of_the_server_alone(service: Service) -> None:
    code = service.script.read_text().partition("PROVIDE")[2]
    assert "dorrit" not in code.replace(str(SUBROUTINES), "")
    assert f'rcvar="{service.name}_enable"' in code


@pytest.mark.root
def test_R37_start_status_restart_and_stop(service: Service) -> None:
    name = service.name
    assert service("status") == (1, f"{name} is not running.\n")
    assert service("start") == (0, f"Starting {name}.\n")
    first = service.pid
    assert service("status") == (0, f"{name} is running as pid {first}.\n")
    assert service("start") == (1, f"{name} already running? (pid={first}).\n")
    assert service("restart") == (0, f"Stopping {name}.\nStarting {name}.\n")
    second = service.pid
    assert second != first
    assert not is_alive(first)
    assert service("status") == (0, f"{name} is running as pid {second}.\n")
    assert service("stop") == (0, f"Stopping {name}.\n")
    assert not is_alive(second)
    assert service("status") == (1, f"{name} is not running.\n")
    assert service("stop") == (1, f"{name} not running? (check /var/run/{name}.pid).\n")


@pytest.mark.root
@pytest.mark.parametrize("enable", ["NO", None])
def test_R37_what_is_not_enabled_does_nothing_unless_forced(
    service: Service, enable: str | None
) -> None:
    service.configure(**({} if enable is None else {"enable": enable}))
    for verb in VERBS:
        status, said = service(verb)
        assert status == 1
        assert said.startswith(f"Cannot '{verb}' {service.name}. Set {service.name}_enable to YES")
    assert not service.pid_file.exists()
    assert service("forcestart")[0] == 0
    first = service.pid
    assert service("stop")[0] == 1
    assert service("forcestatus") == (0, f"{service.name} is running as pid {first}.\n")
    assert service("forcerestart")[0] == 0
    assert service.pid != first
    assert service("forcestop") == (0, f"Stopping {service.name}.\n")
    assert service("forcestatus")[0] == 1


@pytest.mark.root
def test_R37_the_flags_reach_the_server(service: Service) -> None:
    service.configure(enable="YES", flags="-u www-data -g www-data")
    assert service("start")[0] == 0
    assert status(service.pid)["Uid"] == [str(pwd.getpwnam("www-data").pw_uid)] * 4
    words = Path(f"/proc/{service.pid}/cmdline").read_bytes().decode().split("\0")
    assert words == [INTERPRETER, str(service.program), "-u", "www-data", "-g", "www-data", ""]


def test_R37_why_a_server_cannot_start_is_said(service: Service) -> None:
    service.program.write_text(f"#!{sys.executable}\nraise SystemExit('no such group: x')\n")
    assert service("start") == (1, f"Starting {service.name}.\nno such group: x\n")


@pytest.mark.root
@pytest.mark.parametrize("arguments", [["sleep", "600"], [sys.executable, "-c", "input()"]])
def test_R37_a_pid_that_is_another_programs_gets_no_signal(
    service: Service, arguments: list[str]
) -> None:
    bystander = subprocess.Popen(arguments, stdin=subprocess.PIPE)
    try:
        service.pid_file.write_text(f"{bystander.pid}\n")
        assert service("status")[0] == 1
        assert service("stop")[0] == 1
        assert service("restart")[0] == 0
        assert bystander.poll() is None
        assert service.pid != bystander.pid
    finally:
        bystander.kill()
        bystander.communicate()


@pytest.mark.root
def test_R37_another_server_of_the_same_interpreter_gets_no_signal(
    service: Service, directory: Path
) -> None:
    (directory / "other").mkdir()
    other = Service(directory / "other")
    other.configure(enable="YES")
    try:
        assert other("start")[0] == 0
        service.pid_file.write_text(other.pid_file.read_text())
        assert service("stop")[0] == 1
        assert other("status") == (0, f"{other.name} is running as pid {other.pid}.\n")
    finally:
        other("stop")
    assert not other.pid_file.exists()


@pytest.mark.root
@pytest.mark.parametrize("content", ["", "\n", "x\n", "-1\n", "1 2\n", "$(reboot)\n", "99999999\n"])
def test_R37_a_pid_file_with_something_else_in_it_is_no_server(
    service: Service, content: str
) -> None:
    service.pid_file.write_text(content)
    assert service("status")[0] == 1
    assert service("stop")[0] == 1


@pytest.mark.root
def test_R37_a_server_that_was_killed_starts_again(service: Service) -> None:
    assert service("start")[0] == 0
    first = service.pid
    os.kill(first, 9)
    until(lambda: not is_alive(first), "its end")
    assert service("status")[0] == 1
    assert service("start")[0] == 0
    assert service.pid != first
