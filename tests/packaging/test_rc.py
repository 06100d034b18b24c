"""The rc.d script of FreeBSD, under a stand-in for its rc.subr (tests/packaging/rc.subr)."""

import contextlib
import os
import pwd
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support.log_daemon import log_daemon
from tests.support.proc import children, is_gone, oldest, status, words
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

VERBS = ("start", "stop", "restart", "reload", "poll")
"""Those that do nothing if the server is not enabled."""


class Service:
    """A server with a name of its own, and its script."""

    def __init__(self, directory: Path) -> None:
        self.name = f"test{secrets.token_hex(4)}"
        self.pid_file = RUN / f"{self.name}.pid"
        self.configuration = directory / "rc.conf"
        self.configuration.touch()
        self.program = directory / f"{self.name}.py"
        self.write()
        # As the script itself says it.
        command = f"/^# PROVIDE/,$s/dorrit/{self.name}/g"
        assert f"sed '{command.replace(self.name, 'chat')}' dorrit" in SCRIPT.read_text()
        renamed = subprocess.run(
            ["sed", command, SCRIPT], capture_output=True, text=True, check=True
        ).stdout
        self.script = directory / self.name
        self.script.write_text(renamed.replace("/etc/rc.subr", str(SUBROUTINES)))

    def write(self, source: str = "") -> None:
        """Write its program, which begins with this."""
        program = PROGRAM.format(interpreter=INTERPRETER, name=self.name)
        line, _, rest = program.partition("\n")
        self.program.write_text(f"{line}\n{source}{rest}")
        self.program.chmod(0o755)

    def configure(self, **variables: str) -> None:
        values = {"program": str(self.program), "interpreter": INTERPRETER} | variables
        lines = [f'{self.name}_{variable}="{value}"\n' for variable, value in values.items()]
        self.configuration.write_text("".join(lines))

    def begin(self, *line: str, **settings: Any) -> "subprocess.Popen[str]":
        """Run the script."""
        return subprocess.Popen(
            ["sh", self.script, *line],
            env=os.environ | {"RC_CONF": str(self.configuration), "PYTHONPATH": SEARCHED},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **settings,
        )

    def __call__(self, *line: str, **settings: Any) -> tuple[int, str]:
        """Run the script to its end; return its exit status and what it has said."""
        with self.begin(*line, **settings) as running:
            said, _ = running.communicate(timeout=60)
        return running.returncode, said

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def is_running(self) -> str:
        """The first line of what it says when it runs."""
        return f"{self.name}: running as process {self.pid}\n"

    def could_not_start(self, why: str) -> str:
        """What it says when it can't be started."""
        return (
            f"Starting {self.name}.\n{why}\n{self.script}: WARNING: failed to start {self.name}\n"
        )


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
    comments, _, code = service.script.read_text().partition("\n# PROVIDE")
    assert 'ask="-P -m dorrit"' in comments.splitlines()
    assert "dorrit" not in code.replace(str(SUBROUTINES), "")
    assert f'rcvar="{service.name}_enable"' in code


def test_R37_without_a_verb_or_with_another_it_says_which_there_are(service: Service) -> None:
    for line in ([], ["reboot"]):
        status, said = service(*line)
        assert status == 1
        assert said.endswith("(start|stop|restart|status|poll|reload)\n")


@pytest.mark.root
@pytest.mark.parametrize("flags", ["", "--no-supervise"])
def test_R37_start_status_reload_restart_and_stop(service: Service, flags: str) -> None:
    name = service.name
    service.configure(enable="YES", flags=flags)
    assert service("status") == (1, f"{name}: not running\n")
    assert service("reload") == (1, f"dorrit: {name}: not running\n")
    assert service("start") == (0, f"Starting {name}.\n")
    first = service.pid
    assert bool(children(first)) is not bool(flags)
    status, said = service("status")
    assert status == 0
    assert said.startswith(service.is_running())
    why = f"{service.pid_file}: a server named {name} runs already, as process {first}"
    assert service("start") == (
        1,
        service.could_not_start(f"{service.program.name}: {why}; stop it first"),
    )
    status, said = service("reload")
    assert status == 0
    assert said.startswith(f"{name}: reloaded with 0 connections in ")
    assert service.pid == first
    stopped = f"{name}: stopped process {first}\n"
    assert service("restart") == (0, f"{stopped}Starting {name}.\n")
    second = service.pid
    assert second != first
    assert not is_alive(first)
    assert service("status")[1].startswith(service.is_running())
    assert service("stop") == (0, f"{name}: stopped process {second}\n")
    assert not is_alive(second)
    assert service("status") == (1, f"{name}: not running\n")
    assert service("stop") == (0, f"{name}: not running\n")


@pytest.mark.root
def test_R37_code_with_a_mistake_is_not_run_by_a_reload(service: Service) -> None:
    assert service("start")[0] == 0
    service.write("x = = 1\n")
    status, said = service("reload")
    assert status == 1
    assert said.startswith(f"dorrit: {service.name}: not reloaded: ")
    assert service("status")[0] == 0


@pytest.mark.root
@pytest.mark.parametrize("enable", ["NO", None])
def test_R37_what_is_not_enabled_does_nothing_unless_forced(
    service: Service, enable: str | None
) -> None:
    service.configure(**({} if enable is None else {"enable": enable}))
    for verb in VERBS:
        status, said = service(verb)
        assert status == 0
        assert said.startswith(f"Cannot '{verb}' {service.name}. Set {service.name}_enable to YES")
    assert not service.pid_file.exists()
    assert service("onestart")[0] == 0
    first = service.pid
    assert "Cannot 'stop'" in service("stop")[1]
    assert service("status")[0] == 0
    assert service("onereload")[0] == 0
    assert service("forcerestart")[0] == 0
    assert service.pid != first
    second = service.pid
    assert service("onestop") == (0, f"{service.name}: stopped process {second}\n")
    assert service("forcestatus") == (3, f"{service.name}: not running\n")


@pytest.mark.root
def test_R37_what_follows_the_verb_is_passed_on(service: Service) -> None:
    assert service("start")[0] == 0
    status, said = service("stop", "--timeout", "forever")
    assert status == 1
    assert "'forever' is not a number of seconds" in said
    assert service("stop", "--now", "--timeout", "60")[0] == 0


@pytest.mark.root
def test_R37_poll_waits_for_its_end(service: Service) -> None:
    assert service("poll") == (0, "")
    assert service("start")[0] == 0
    with service.begin("poll") as poll:
        # It waits: it has found the server.
        until(lambda: any(words(pid)[:1] == ["sleep"] for pid in children(poll.pid)), "its wait")
        assert service("stop")[0] == 0
        assert poll.wait(60) == 0


@pytest.mark.root
def test_R37_the_flags_reach_the_server(service: Service) -> None:
    service.configure(enable="YES", flags="-u www-data -g www-data")
    assert service("start")[0] == 0
    worker = oldest(children(service.pid))
    for pid in (service.pid, worker):
        assert status(pid)["Uid"] == [str(pwd.getpwnam("www-data").pw_uid)] * 4
    expected = [INTERPRETER, str(service.program), "-u", "www-data", "-g", "www-data", ""]
    assert words(worker) == expected


def test_R37_why_a_server_cannot_start_is_said(service: Service) -> None:
    service.program.write_text(f"#!{sys.executable}\nraise SystemExit('no such group: x')\n")
    assert service("start") == (1, service.could_not_start("no such group: x"))


@pytest.mark.root
def test_R37_it_asks_the_library_and_not_what_is_called_so_where_it_is_run(
    service: Service, directory: Path
) -> None:
    directory.joinpath("dorrit.py").write_text("raise SystemExit('not the library')\n")
    assert service("status", cwd=directory) == (1, f"{service.name}: not running\n")


@pytest.mark.root
@pytest.mark.parametrize("arguments", [["sleep", "600"], [sys.executable, "-c", "input()"]])
def test_R37_a_pid_that_is_another_programs_gets_no_signal(
    service: Service, arguments: list[str]
) -> None:
    bystander = subprocess.Popen(arguments, stdin=subprocess.PIPE)
    try:
        service.pid_file.write_text(f"{bystander.pid}\n")
        assert service("status")[0] == 1
        assert service("stop")[1].startswith(f"{service.name}: not running")
        assert service("reload")[0] == 1
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
        service("stop")
        service("reload")
        status, said = other("status")
        assert status == 0
        assert said.startswith(other.is_running())
        assert "reloads" not in said
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
    assert service("stop")[1].startswith(f"{service.name}: not running")


@pytest.mark.root
def test_R37_a_server_that_was_killed_starts_again(service: Service) -> None:
    assert service("start")[0] == 0
    first = service.pid
    os.kill(first, 9)
    until(lambda: not is_alive(first), "its end")
    assert service("status")[0] == 1
    assert service("start")[0] == 0
    assert service.pid != first
