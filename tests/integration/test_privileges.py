"""Servers that start with some privileges, or with none (R26): what takes none works, and what is
missing is said."""

import grp
import os
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support import proc
from tests.support.servers import Run, Servers, dorrit, until

NOBODY = 65534
OTHER = grp.getgrnam("www-data").gr_gid

POOR = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
"""Root as in a container that has dropped all capabilities."""

STAY = ("-u", "root", "-g", "root")

WAYS = pytest.mark.parametrize("way", ["--no-supervise", "--supervise"])

PORTABLE = {"env": os.environ | {"PYTHONPATH": SEARCHED}}


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory of root's, into which everybody may look."""
    with tempfile.TemporaryDirectory(prefix="dorrit-", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def servers(directory: Path) -> Iterator[Servers]:
    made = Servers(directory)
    yield made
    made.close()


def command(servers: Servers, before: tuple[str, ...], *options: object) -> list[object]:
    words = dorrit("serve", servers.write(""), "-x", "-l", servers.path, *options)
    return [*before, *words]


def start(servers: Servers, before: tuple[str, ...], *options: object, **settings: object) -> Run:
    return servers.start(*command(servers, before, *options), **settings).until_listening()


def refusal(servers: Servers, before: tuple[str, ...], *options: object) -> str:
    """Run a server that can't start; return its one line."""
    run = servers.run(*command(servers, before, *options))
    assert run.wait() == 1
    assert not servers.path.exists()
    (line,) = [line for line in run.err.splitlines() if line.startswith("dorrit: ")]
    assert "Traceback" not in run.err
    return line


# Root that has not all privileges


@pytest.mark.parametrize(
    "before",
    [POOR, ("unshare", "-r"), ("unshare", "-r", *POOR), ("setpriv", "--groups=0,7", *POOR)],
    ids=["no capabilities", "user namespace", "both", "groups that can not be given up"],
)
@WAYS
def test_R26_root_that_stays_who_it_is_needs_no_privilege(
    servers: Servers, before: tuple[str, ...], way: str
) -> None:
    server = start(servers, before, *STAY, way)
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(server) == 0
    assert not servers.path.exists()


@WAYS
def test_R26_a_crash_there_is_a_restart_as_elsewhere(servers: Servers, way: str) -> None:
    server = start(servers, ("unshare", "-r", *POOR), *STAY, way)
    os.kill(proc.oldest(proc.children(server.pid) or {server.pid}), 11)
    server.until_logged("crashed: SIGSEGV")
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(server) == 0


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("all", "capabilities CAP_SETUID and CAP_CHOWN and CAP_SETGID"),
        ("setuid", "capability CAP_SETUID"),
        ("setgid", "capability CAP_SETGID"),
        ("chown", "capability CAP_CHOWN"),
    ],
)
def test_R26_root_that_lacks_a_capability_is_told_which(
    servers: Servers, missing: str, named: str
) -> None:
    before = ("setpriv", f"--bounding-set=-{missing}", f"--inh-caps=-{missing}")
    line = refusal(servers, before, "-g", "daemon")
    assert f"this root lacks the {named}: give it that" in line
    assert line.endswith("or stay who it is (-u root -g root)")


def test_R26_a_directory_of_another_user_takes_a_capability(servers: Servers) -> None:
    servers.directory.chmod(0o755)
    file = servers.write("")
    place = servers.directory / "place"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    path = place / "socket"
    words = dorrit("serve", file, "-x", "-l", path, *STAY)
    run = servers.run(*POOR, *words)
    assert run.wait() == 1
    assert (
        f"{path}: the socket can't be made: Permission denied: root lacks the capability "
        f"CAP_DAC_OVERRIDE, so {place} must be its own\n" in run.err
    )


def test_R26_a_user_that_a_namespace_does_not_have_is_told(servers: Servers) -> None:
    line = refusal(servers, ("unshare", "-r"))
    assert "this user namespace has no such user (see /proc/self/uid_map)" in line
    line = refusal(servers, ("unshare", "-r"), "-u", "root", "-g", "daemon")
    assert "this user namespace has no group 1 (see /proc/self/gid_map)" in line


def test_R26_a_directory_that_can_only_be_read_is_told(servers: Servers) -> None:
    place = servers.directory / "place"
    place.mkdir()
    mounted = f'mount -t tmpfs -o ro tmpfs {place} && exec "$@"'
    run = servers.run(
        "unshare", "--mount", "sh", "-c", mounted, "sh",
        *dorrit("serve", servers.write(""), "-x", "-l", place / "socket", *STAY),
    )  # fmt: skip
    assert run.wait() == 1
    assert f"{place}/socket: the socket can't be made: Read-only file system\n" in run.err


@pytest.mark.parametrize("before", [POOR, ("unshare", "-r")], ids=["poor", "user namespace"])
def test_R26_dorrit_dev_runs_there(servers: Servers, before: tuple[str, ...]) -> None:
    words = dorrit("dev", servers.write(""), "--port", 0)
    run = servers.start(*before, *words)
    until(lambda: "dorrit dev: open http://" in run.out + run.err or run.process.poll(), "dev")
    assert run.process.poll() is None, run.err
    run.process.send_signal(signal.SIGINT)
    run.wait()


# Who is not root


def test_R33_a_number_without_a_name_needs_no_entry_in_passwd(servers: Servers) -> None:
    os.chown(servers.directory, 54321, 54321)
    file = servers.write("")
    words = [interpreter_for_nobody(), "-m", "dorrit", "serve", file, "-x", "-l", servers.path]
    server = servers.start(*words, user=54321, group=54321, extra_groups=[], **PORTABLE)
    server.until_listening()
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(server) == 0


def as_member(servers: Servers, *options: object) -> tuple[Run, os.stat_result]:
    """Run a server as a user who is in another group as well; return what its socket is."""
    words = [interpreter_for_nobody(), "-m", "dorrit", "serve", servers.write(""), "-x"]
    server = servers.start(
        *words, "-l", servers.path, *options,
        user=NOBODY, group=NOBODY, extra_groups=[OTHER], **PORTABLE,
    ).until_listening()  # fmt: skip
    status = servers.path.lstat()
    assert stat.filemode(status.st_mode) == "srwxrwx---"
    return server, status


def test_R33_the_socket_may_have_any_group_that_the_user_is_in(servers: Servers) -> None:
    os.chown(servers.directory, NOBODY, NOBODY)
    for option, group in ((OTHER, OTHER), ("www-data", OTHER), (NOBODY, NOBODY)):
        server, status = as_member(servers, "-g", option)
        assert (status.st_uid, status.st_gid) == (NOBODY, group)
        assert proc.status(server.pid)["Gid"] == [str(NOBODY)] * 4
        os.kill(server.pid, 11)
        server.until_logged("crashed: SIGSEGV")
        assert servers.connect().ask("hello") == "hello"
        assert servers.path.lstat().st_gid == group
        assert servers.stop(server) == 0


@pytest.mark.parametrize(
    ("options", "group"), [((), OTHER), (("-g", str(NOBODY)), NOBODY)], ids=["unnamed", "named"]
)
def test_R33_a_group_that_the_directory_hands_down_stays_unless_one_is_named(
    servers: Servers, options: tuple[str, ...], group: int
) -> None:
    os.chown(servers.directory, NOBODY, OTHER)
    servers.directory.chmod(0o2750)
    server, status = as_member(servers, *options)
    assert (status.st_uid, status.st_gid) == (NOBODY, group)
    assert servers.stop(server) == 0
    assert not servers.path.exists()


def test_R33_so_does_it_when_root_has_started_the_server(servers: Servers) -> None:
    os.chown(servers.directory, NOBODY, OTHER)
    servers.directory.chmod(0o2755)
    server = start(servers, (), "-u", "nobody")
    status = servers.path.lstat()
    assert (status.st_uid, status.st_gid) == (NOBODY, OTHER)
    assert servers.stop(server) == 0


# Threads that run already

EARLY = """
import threading, time
threading.Thread(target=time.sleep, args=[600], name="early", daemon=True).start()
"""


def test_R26_a_thread_that_would_keep_capabilities_is_named_at_the_start(servers: Servers) -> None:
    os.chown(servers.directory, NOBODY, NOBODY)
    file = servers.write(EARLY)
    rich = (
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
        "--inh-caps=+setuid", "--ambient-caps=+setuid",
    )  # fmt: skip
    words = [interpreter_for_nobody(), "-m", "dorrit", "serve", file, "-x", "-l", servers.path]
    run = servers.run(*rich, *words, **PORTABLE)
    assert run.wait() == 1
    assert "privileges were not dropped in threads that run already: early (" in run.err
    assert not servers.path.exists()


def test_R26_a_thread_of_root_becomes_the_user_as_well(servers: Servers) -> None:
    os.chown(servers.directory, NOBODY, NOBODY)
    file = servers.write(EARLY)
    words = [sys.executable, "-m", "dorrit", "serve", file, "-x", "-l", servers.path]
    server = servers.start(*words).until_listening()
    shown = [
        proc.status(f"{server.pid}/task/{entry.name}")["Uid"]
        for entry in Path(f"/proc/{server.pid}/task").iterdir()
    ]
    assert shown == [[str(NOBODY)] * 4] * 2
    assert servers.stop(server) == 0
