"""What a command is started in may be odd: a directory that is gone, streams that are closed, no
descriptors to be had. Then it works all the same, or says what is wrong in one line."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.children import NOBODY
from tests.support.servers import TIMEOUT, Servers, dorrit

CHAT = """
from dorrit import Server

app = Server("surroundings")

@app.on_message
def echo(conn, message):
    conn.send(message)
"""

COMMANDS = {
    "check": ("check", "{file}"),
    "serve": ("serve", "{file}", "-x", "-l", "{path}"),
    "daemon": ("serve", "{file}", "-l", "{path}"),
    "dev": ("dev", "{file}", "--port", "0"),
    "status": ("status", "no-such-server"),
    "stop": ("stop", "no-such-server"),
    "restart": ("restart", "no-such-server"),
}

AS_NOBODY = """
import os, resource, shutil, signal, sys, tempfile
import dorrit.drive.asyncio_driver, dorrit.dev
from dorrit.cli import check, dev, main, restart, serve, status, stop
limit, uid = int(sys.argv[1]), int(sys.argv[2])
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
if limit:
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
sys.exit(main(sys.argv[3:]))
"""
"""The interpreter may be root's alone: so what it needs is there before it becomes nobody."""

UNKNOWN_USER = 54321
"""One that has no entry in passwd(5)."""

Start = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def chat(servers: Servers) -> Path:
    path = servers.directory / "chat.py"
    path.write_text(CHAT)
    path.chmod(0o644)
    servers.directory.chmod(0o755)
    return path


def words(servers: Servers, command: str, **more: object) -> list[str]:
    names = {"file": servers.directory / "chat.py", "path": servers.path} | more
    return [str(word) for word in dorrit(*(word.format(**names) for word in COMMANDS[command]))]


def run(command: list[str], **settings: object) -> "subprocess.CompletedProcess[str]":
    """Run a command that ends."""
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command,
        **{"stdin": subprocess.DEVNULL, "capture_output": True, "text": True} | settings,
        timeout=TIMEOUT,
        check=False,
    )


def in_shell(line: str, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a shell that does something before, or with, the command, which is "$@" to it."""
    return run(["/bin/sh", "-c", line, "sh", *command])


def expect_one_line(ended: "subprocess.CompletedProcess[str]", *statuses: int) -> None:
    assert "Traceback" not in ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("dorrit: ")]
    assert len(lines) == 1, ended.stderr
    assert ended.returncode in statuses, ended.stderr


# A directory that is gone


def in_gone(servers: Servers, *command: str) -> "subprocess.CompletedProcess[str]":
    where = shlex.quote(str(servers.directory / "removed"))
    return in_shell(f'mkdir {where} && cd {where} && rmdir {where} && exec "$@"', *command)


@pytest.mark.parametrize("command", ["check", "serve", "daemon"])
def test_in_a_directory_that_is_gone_a_module_cannot_be_found(
    servers: Servers, command: str
) -> None:
    ended = in_gone(servers, *words(servers, command, file="chat:app"))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "dorrit: chat: can't be looked for in the working directory: No such file or directory; go "
        "to another one, or give the absolute path of a file\n"
    )
    ended = in_gone(servers, *words(servers, command, file="chat.py:app"))
    assert ended.stderr == "dorrit: chat.py: there is no such file\n"


@pytest.mark.parametrize("file", ["chat.py", "chat"])
def test_in_a_directory_that_is_gone_dev_says_what_is_wrong(servers: Servers, file: str) -> None:
    ended = in_gone(servers, *words(servers, "dev", file=file))
    expect_one_line(ended, 1)
    assert "dorrit: the working directory: No such file or directory; go to another" in ended.stderr


@pytest.mark.parametrize(
    ("command", "status"), [("check", 0), ("status", 3), ("stop", 0), ("restart", 1)]
)
def test_in_a_directory_that_is_gone_the_rest_works(
    servers: Servers, chat: Path, command: str, status: int
) -> None:
    ended = in_gone(servers, *words(servers, command))
    assert ended.returncode == status
    assert "Traceback" not in ended.stderr


def test_in_a_directory_that_is_gone_a_server_is_started_by_its_absolute_path(
    servers: Servers, chat: Path
) -> None:
    where = servers.directory / "removed"
    line = f'mkdir {where} && cd {where} && rmdir {where} && exec "$@"'
    user = ["-u", str(os.geteuid()), "-g", str(os.getegid())]
    started = servers.start("/bin/sh", "-c", line, "sh", *words(servers, "serve"), *user)
    started.until_listening()
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(started) == 0


# Streams that are closed, or full


@pytest.mark.parametrize(
    ("command", "status"), [("check", 0), ("status", 3), ("stop", 0), ("restart", 1)]
)
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_change_nothing(
    servers: Servers, chat: Path, closed: str, command: str, status: int
) -> None:
    ended = in_shell(f'exec "$@" {closed}', *words(servers, command))
    assert ended.returncode == status
    assert "Traceback" not in ended.stderr


def test_a_wrong_command_line_is_2_though_nobody_can_hear_it(servers: Servers) -> None:
    assert in_shell('exec "$@" <&- >&- 2>&-', *map(str, dorrit("serve"))).returncode == 2
    assert in_shell('exec "$@" <&- >&- 2>&-', *map(str, dorrit("--version"))).returncode == 0


@pytest.mark.parametrize(("command", "status"), [("check", 1), ("status", 4), ("stop", 4)])
def test_an_output_that_cannot_be_written_is_said(
    servers: Servers, chat: Path, command: str, status: int
) -> None:
    ended = in_shell('exec "$@" >/dev/full', *words(servers, command))
    assert (ended.returncode, ended.stderr) == (status, "dorrit: No space left on device\n")


# Users and rights


@pytest.mark.parametrize(("command", "status"), [("check", 0), ("status", 3), ("stop", 0)])
def test_a_user_without_an_entry_may_run_it(
    servers: Servers, chat: Path, command: str, status: int
) -> None:
    who = [sys.executable, "-c", AS_NOBODY, "0", str(UNKNOWN_USER)]
    ended = run([*who, *words(servers, command)[3:]], env={})
    assert (ended.returncode, ended.stderr) == (status, "")


def test_a_directory_that_may_not_be_entered_is_said(servers: Servers, chat: Path) -> None:
    who = [sys.executable, "-P", "-c", AS_NOBODY, "0", str(NOBODY)]
    for command in ("check", "serve"):
        secret = shlex.quote(str(servers.directory / f"secret-{command}"))
        line = f'mkdir {secret} && cd {secret} && chmod 0 {secret} && exec "$@"'
        ended = in_shell(line, *who, *words(servers, command, file="chat.py")[3:])
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == "dorrit: chat.py: Permission denied\n"


# Nothing to be had


@pytest.mark.parametrize(
    ("command", "limit"),
    [
        *(("serve", limit) for limit in range(1, 12)),
        *(("daemon", limit) for limit in range(1, 12)),
        *(("dev", limit) for limit in range(1, 9)),
    ],
)
def test_a_limit_of_descriptors_that_is_too_low_is_said_in_one_line(
    servers: Servers, chat: Path, command: str, limit: int
) -> None:
    own = servers.directory / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    who = [sys.executable, "-c", AS_NOBODY, str(limit), str(NOBODY)]
    ended = run([*who, *words(servers, command, path=own / "x.socket")[3:]], cwd="/")
    expect_one_line(ended, 1)
    assert "Too many open files" in ended.stderr or "No usable temporary" in ended.stderr
    # An empty lock may be left, which the next start takes: to look at it takes a descriptor, too.
    assert {path.name for path in own.iterdir()} <= {"x.socket.lock"}


@pytest.mark.parametrize("command", COMMANDS)
def test_without_dev_null_it_says_so(servers: Servers, chat: Path, command: str) -> None:
    line = 'mount -t tmpfs none /dev && exec "$@"'
    ended = run(["unshare", "-m", "/bin/sh", "-c", line, "sh", *words(servers, command)])
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        4 if command in {"status", "stop"} else 1,
        "",
        "dorrit: /dev/null: No such file or directory\n",
    )


@pytest.mark.parametrize(("command", "status"), [("check", 0), ("status", 3), ("stop", 0)])
def test_proc_is_not_needed(servers: Servers, chat: Path, command: str, status: int) -> None:
    line = 'umount -l /proc && exec "$@"'
    ended = run(["unshare", "-m", "/bin/sh", "-c", line, "sh", *words(servers, command)])
    assert (ended.returncode, ended.stderr) == (status, "")


@pytest.mark.parametrize(("command", "status"), [("check", 0), ("status", 3), ("stop", 0)])
def test_a_locale_that_is_not_known_changes_nothing(
    servers: Servers, chat: Path, command: str, status: int
) -> None:
    ended = run(words(servers, command), env={"LC_ALL": "xx_YY.UTF-99"})
    assert (ended.returncode, ended.stderr) == (status, "")
