"""A daemon that root starts, as the kernel, the log daemon and the administrator see it."""

import grp
import os
import pwd
import re
import signal
import stat
import subprocess
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support import proc
from tests.support.accounts import account
from tests.support.daemons import RUN, Daemon, Daemons, reaper
from tests.support.log_daemon import DEV_LOG, FACILITY_DAEMON, LogDaemon, log_daemon, no_log_daemon
from tests.support.servers import dorrit, request_with, until, until_it_sleeps

NOBODY = pwd.getpwnam("nobody")
NOGROUP = NOBODY.pw_gid


@pytest.fixture
def daemons(directory: Path) -> Iterator[Daemons]:
    with reaper():
        made = Daemons(directory)
        yield made
        made.close()


@pytest.fixture
def log() -> Iterator[LogDaemon]:
    with log_daemon() as made:
        yield made


@pytest.fixture
def user() -> Iterator[str]:
    """A user with two supplementary groups."""
    with account("-N", "-g", "games", "-G", "tty,audio", "-d", "/nowhere") as name:
        yield name


def dorrit_says(*words: object) -> tuple[int, str]:
    """Run a command; return its exit status and what it prints."""
    ended = subprocess.run(
        [str(word) for word in dorrit(*words)],
        env=os.environ | {"PYTHONPATH": SEARCHED},  # of what `dorrit restart` starts
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout


# What it is


def expect_privileges(pid: int, uid: int, gid: int, groups: set[int]) -> None:
    shown = proc.status(pid)
    assert shown["Uid"] == [str(uid)] * 4
    assert shown["Gid"] == [str(gid)] * 4
    assert set(map(int, shown["Groups"])) == groups
    for name in proc.CAPABILITIES:
        assert int(shown[name][0], 16) == 0, name


@pytest.mark.root
def test_R26_without_options_it_is_nobody_for_good(either: Daemons) -> None:
    daemon = either()
    daemon.start()
    for pid in daemon.processes:
        expect_privileges(pid, NOBODY.pw_uid, NOGROUP, {NOGROUP})


@pytest.mark.root
def test_R26_with_options_it_is_who_they_say_with_the_users_groups(
    user: str, either: Daemons
) -> None:
    daemon = either()
    daemon.start("-u", user, "-g", "disk")
    uid, gid = pwd.getpwnam(user).pw_uid, grp.getgrnam("disk").gr_gid
    groups = {grp.getgrnam(name).gr_gid for name in ("disk", "tty", "audio")}
    for pid in daemon.processes:
        expect_privileges(pid, uid, gid, groups)
    status = daemon.path.lstat()
    assert (status.st_uid, status.st_gid) == (uid, gid)


@pytest.mark.root
@pytest.mark.parametrize(
    ("machine", "to_the_log"),
    [
        # Where its messages go, and where the line goes that says that it has crashed.
        pytest.param(log_daemon, ["socket"] * 2, id="with a log daemon"),
        pytest.param(no_log_daemon, [], id="without a log daemon"),
    ],
)
def test_R22_it_has_a_session_without_a_terminal_and_nothing_of_who_started_it(
    either: Daemons, machine: Callable[[], AbstractContextManager[object]], to_the_log: list[str]
) -> None:
    with machine():
        daemon = either()
        leaked = [os.open("/etc/passwd", os.O_RDONLY), *os.pipe()]
        names = {proc.descriptors(os.getpid())[descriptor] for descriptor in leaked}
        daemon.start(pass_fds=leaked, cwd="/tmp", umask=0o077)
        for descriptor in leaked:
            os.close(descriptor)
        assert proc.stat(daemon.pid)["parent"] == os.getpid()  # its reaper: who started it is gone
        for pid in daemon.processes:
            expect_no_terminal(pid)
            assert names.isdisjoint(expect_descriptors(daemon, pid).values())
        if daemon.server != daemon.pid:
            supervisor, worker = proc.stat(daemon.pid), proc.stat(daemon.server)
            assert worker["parent"] == daemon.pid
            assert worker["session"] == supervisor["session"]
            return
        found = expect_descriptors(daemon, daemon.pid).values()
        assert sorted(re.sub(r":\[\d+\]$", "", name) for name in found) == sorted([
            "anon_inode:[eventpoll]",
            "pipe", "pipe",  # wakes the loop
            "socket",  # listens
            "socket",  # answers `dorrit status`
            "socket",  # to the janitor
            "/dev/null", "/dev/null",  # spare ones
            f"{RUN.resolve()}/{daemon.name}.pid",
            f"{RUN.resolve()}/{daemon.name}.socket.lock",
            "/memfd:dorrit-connections (deleted)",
            "/memfd:dorrit-restart (deleted)", "/memfd:dorrit-traceback (deleted)",
            *to_the_log,
        ])  # fmt: skip


def expect_no_terminal(pid: int) -> None:
    place = proc.stat(pid)
    assert place["session"] not in {pid, os.getsid(0)}  # no leader, which could get a tty
    assert place["terminal"] == 0
    assert str(Path(f"/proc/{pid}/cwd").readlink()) == "/"
    assert proc.status(pid)["Umask"] == ["0027"]
    assert proc.status(pid)["Threads"] == ["1"]
    assert set(proc.status(pid)["SigBlk"]) == {"0" * 16}


def expect_descriptors(daemon: Daemon, pid: int) -> dict[int, str]:
    """Return those of one of its processes, without the standard streams."""
    until_it_sleeps(pid)
    found = proc.descriptors(pid)
    assert [found.pop(number) for number in range(3)] == ["/dev/null"] * 3
    flags = {
        number: int(re.findall(r"flags:\s+(\d+)", text)[0], 8)
        for number in found
        for text in [Path(f"/proc/{pid}/fdinfo/{number}").read_text()]
    }
    assert all(flag & os.O_CLOEXEC for flag in flags.values())
    # Who takes over the server must not write another pid into root's files.
    roots = [flags[number] for number, name in found.items() if name.endswith((".pid", ".lock"))]
    assert [flag & os.O_ACCMODE for flag in roots] == [os.O_RDONLY] * len(roots)
    assert len(roots) == (2 if pid == daemon.pid else 0)
    return found


@pytest.mark.root
@pytest.mark.parametrize("umask", [0, 0o777])
def test_R25_its_sockets_and_files_have_their_owners_and_modes(either: Daemons, umask: int) -> None:
    daemon = either()
    daemon.start(umask=umask)
    found = {
        suffix: (status.st_uid, status.st_gid, stat.filemode(status.st_mode))
        for suffix in daemon.files
        for status in [(RUN / (daemon.name + suffix)).lstat()]
    }
    assert found == {
        ".socket": (NOBODY.pw_uid, NOGROUP, "srwxrwx---"),
        ".status": (NOBODY.pw_uid, NOGROUP, "srw-------"),
        ".socket.lock": (0, 0, "-rw-------"),
        ".pid": (0, 0, "-rw-------"),
        ".command": (0, 0, "-rw-------"),
    }
    assert daemon.pid_file.read_text() == f"{daemon.pid}\n"


# How it starts


@pytest.mark.root
def test_R22_clients_can_connect_as_soon_as_the_command_has_ended(either: Daemons) -> None:
    for _ in range(5):
        daemon = either()
        daemon.start()
        assert daemon.ask("at once") == "at once"


@pytest.mark.root
def test_R7_init_is_roots_on_the_terminal_and_exit_is_the_daemons(either: Daemons) -> None:
    daemon = either("""
        import atexit
        def tell(what):
            os.write(report, f"{what} {os.getpid()} {os.getuid()} {os.getcwd()}\\n".encode())
        def ws_init_func():
            global report
            report = os.open(__file__ + ".report", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            atexit.register(tell, "atexit")
            tell("init")
            print("on the terminal", file=sys.stderr)
        def ws_exit_func():
            tell("exit")
    """)
    started = daemon.run(cwd=daemon.file.parent)
    assert (started.returncode, started.stdout) == (0, "")
    assert "on the terminal\n" in started.stderr
    daemon.pid = int(daemon.pid_file.read_text())
    server = daemon.server
    assert daemon.stop() == 0
    report = Path(f"{daemon.file}.report").read_text().splitlines()
    init, *others = [line.split() for line in report]
    assert (init[0], init[2:]) == ("init", ["0", str(daemon.file.parent)])
    assert int(init[1]) not in {daemon.pid, server}
    ours = [str(server), str(NOBODY.pw_uid), "/"]
    assert others == [["exit", *ours], ["atexit", *ours]]


@pytest.mark.root
@pytest.mark.parametrize(
    ("source", "options", "status", "said"),
    [
        ("def ws_init_func(): 1 / 0", [], 1, "ws_init_func raised ZeroDivisionError"),
        ("", ["-u", "who?"], 1, "-u who?: there is no such user; give a name or a number"),
        ("", ["-g", "who?"], 1, "-g who?: there is no such group; give a name or a number"),
        (
            "",
            ["-l", "/nowhere/x.socket"],
            1,
            "/nowhere/x.socket: the socket can't be made: ",
        ),
        ("", ["-l", "/etc/passwd"], 1, "/etc/passwd: there is a regular file, not a socket"),
        ("", ["-b", "1"], 2, "argument -b/--buffer-size: 1 is out of range"),
        (
            # What is started after the fork fails.
            """
            def ws_init_func():
                from dorrit.process.files.janitor import Janitor
                def fail(*_, **__):
                    raise dorrit.StartError("no janitor to be had")
                Janitor.__init__ = fail
            """,
            [],
            1,
            "no janitor to be had",
        ),
    ],
)
def test_R22_if_it_cannot_start_the_command_says_why_and_nothing_is_left(
    daemons: Daemons, source: str, options: list[str], status: int, said: str
) -> None:
    daemon = daemons(source)
    ended = daemon.run(*options)
    assert ended.returncode == status, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"dorrit: {said}")
    assert ended.stderr.count(said) == 1
    assert daemon.files == set()
    assert daemon.janitor is None


@pytest.mark.root
def test_R22_an_interrupted_command_takes_the_daemon_with_it(daemons: Daemons) -> None:
    daemon = daemons("""
        def ws_init_func():
            import signal
            from dorrit.process.credentials import privileges
            drop = privileges.drop
            def drop_late(identity):
                drop(identity)
                handlers = signal.getsignal(signal.SIGTERM).__self__
                os.write(there, b"now")
                while handlers.received is None:
                    time.sleep(0.01)
            global there
            there = os.open(__file__ + ".there", os.O_WRONLY | os.O_CREAT)
            privileges.drop = drop_late
    """)
    there = Path(f"{daemon.file}.there")
    with subprocess.Popen(daemon.command(), stderr=subprocess.PIPE, text=True) as command:
        until(lambda: there.exists() and there.read_text(), "the daemon")
        daemon.pid = int(daemon.pid_file.read_text())
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=20)
    assert command.returncode == 1
    assert "told to stop by SIGTERM before it was ready" in err
    assert daemon.files == set()


@pytest.mark.root
def test_R22_so_it_does_while_the_servers_start_handler_runs(either: Daemons) -> None:
    daemon = either()
    daemon.file.write_text(
        textwrap.dedent(f"""
        import pathlib, signal, time
        import dorrit
        app = dorrit.Server({daemon.name!r}, log={str(daemon.file.with_suffix(".log"))!r})
        there = open(__file__ + ".there", "w")
        @app.on_start
        def start():
            handlers = signal.getsignal(signal.SIGTERM).__self__
            print("now", file=there, flush=True)
            while handlers.received is None:
                time.sleep(0.01)
        @app.on_message
        def said(conn, message): pass
        """)
    )
    there = Path(f"{daemon.file}.there")
    words = daemon.command()
    environment = os.environ | {"PYTHONPATH": SEARCHED}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment) as command:
        until(lambda: there.exists() and there.read_text(), "the daemon")
        daemon.pid = int(daemon.pid_file.read_text())
        processes = daemon.processes
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=20)
    assert command.returncode == 1
    assert "told to stop by SIGTERM before it was ready" in err
    assert daemon.files == set()
    assert all(proc.is_gone(pid) for pid in processes)


# One of a name


@pytest.mark.root
def test_R24_a_second_of_the_same_name_is_refused_with_the_firsts_pid(either: Daemons) -> None:
    first = either()
    first.start()
    files = {path: path.lstat().st_ino for path in RUN.iterdir() if first.name in path.name}
    for options in ([], ["-l", f"{first.file.parent}/other.socket"]):
        second = first.run(*options)
        assert second.returncode == 1
        assert second.stderr == (
            f"dorrit: {first.pid_file}: a server named {first.name} runs already, as process "
            f"{first.pid}; stop it first\n"
        )
    assert {path: path.lstat().st_ino for path in files} == files
    assert first.ask("still there?") == "still there?"


@pytest.mark.root
def test_R25_another_name_for_the_same_socket_is_refused(either: Daemons) -> None:
    first, other = either(), either()
    first.start()
    ended = other.run("-l", first.path)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"dorrit: {first.path}: another server (process {first.pid}) has this socket; stop it "
        "first, or choose another path\n"
    )
    assert other.files == set()
    assert first.ask("still there?") == "still there?"


@pytest.mark.root
def test_R24_of_two_that_start_at_once_exactly_one_wins(daemons: Daemons) -> None:
    for _ in range(5):
        daemon = daemons()
        ends: list[subprocess.CompletedProcess[str]] = []
        starts = [threading.Thread(target=lambda: ends.append(daemon.run())) for _ in range(3)]  # noqa: B023
        for start in starts:
            start.start()
        for start in starts:
            start.join()
        assert sorted(end.returncode for end in ends) == [0, 1, 1], ends
        daemon.pid = int(daemon.pid_file.read_text())
        losers = [end.stderr for end in ends if end.returncode == 1]
        assert all(f"a server named {daemon.name} " in text for text in losers), losers
        assert daemon.ask("who?") == "who?"
        assert daemon.stop() == 0
        assert daemon.files == set()


@pytest.mark.root
@pytest.mark.parametrize("suffix", [".pid", ".socket", ".socket.lock", ".status", ".command"])
def test_R24_R25_a_symbolic_link_is_not_followed(daemons: Daemons, suffix: str) -> None:
    daemon = daemons()
    target = daemon.file.with_suffix(".precious")
    target.write_text("precious")
    before = target.stat()
    link = RUN / (daemon.name + suffix)
    link.symlink_to(target)
    ended = daemon.run()
    assert ended.returncode == 1
    assert "left as it is" in ended.stderr
    assert link.is_symlink()
    assert target.read_text() == "precious"
    after = target.stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)
    assert daemon.files == {suffix}


# How it ends


@pytest.mark.root
def test_R27_it_leaves_nothing_but_status_0(daemons: Daemons) -> None:
    daemon = daemons()
    daemon.start()
    assert daemon.stop() == 0
    assert daemon.files == set()


@pytest.mark.root
def test_R24_after_kill_9_its_janitor_removes_its_files(daemons: Daemons) -> None:
    daemon = daemons()
    daemon.start()
    daemon.kill()
    assert daemon.wait() == -signal.SIGKILL
    until(lambda: daemon.files == {".command"}, "the janitor's work")
    daemon.start()
    assert daemon.ask("again") == "again"
    assert daemon.stop() == 0
    until(lambda: daemon.files == set(), "the janitor's work")


@pytest.mark.root
def test_R24_R25_what_a_killed_server_and_janitor_leave_is_replaced(either: Daemons) -> None:
    daemon = either()
    daemon.start()
    janitor = daemon.janitor
    assert janitor is not None
    os.kill(janitor, signal.SIGKILL)
    daemon.kill()
    daemon.wait()
    assert len(daemon.files) == 5
    assert dorrit_says("status", daemon.name)[0] == 1
    daemon.start()
    assert daemon.ask("again") == "again"
    assert daemon.stop() == 0
    assert daemon.files == set()


# For the administrator


@pytest.mark.root
def test_status_stop_and_restart_by_its_name(either: Daemons) -> None:
    daemon = either()
    daemon.start("-b", "100", cwd=daemon.file.parent)
    daemon.ask("hello")
    code, said = dorrit_says("status", daemon.name)
    assert code == 0
    shown = dict(re.findall(r"^(\w+) +(.*)$", said, re.MULTILINE))
    assert said.startswith(f"{daemon.name}: running as process {daemon.pid}\n")
    assert (shown["user"], shown["group"], shown["socket"], shown["crashes"]) == (
        "nobody", grp.getgrgid(NOGROUP).gr_name, str(daemon.path), "0"
    )  # fmt: skip
    first = daemon.pid
    code, said = dorrit_says("restart", daemon.name)
    assert (code, said.splitlines()[0]) == (0, f"{daemon.name}: stopped process {first}")
    daemon.pid = int(daemon.pid_file.read_text())
    assert daemon.pid != first
    client = daemon.connect()
    client.send("x" * 96)
    assert client.close_code() == 1009  # -b is what it was
    client.socket.close()
    assert dorrit_says("stop", daemon.name) == (0, f"{daemon.name}: stopped process {daemon.pid}\n")
    assert daemon.files == set()
    assert dorrit_says("status", daemon.name) == (3, f"{daemon.name}: not running\n")
    assert dorrit_says("stop", daemon.name) == (0, f"{daemon.name}: not running\n")
    assert dorrit_says("restart", daemon.name)[0] == 1


def restarted(daemon: Daemon, said: str) -> None:
    """Restart a daemon, see what is said first, and that it serves."""
    code, told = dorrit_says("restart", daemon.name)
    # Then perhaps a warning: the Python of the tests may be root's alone.
    assert (code, told.splitlines()[0]) == (0, f"{daemon.name}: {said}")
    daemon.pid = int(daemon.pid_file.read_text())
    assert daemon.ask("again") == "again"


def test_O4_restart_of_a_server_with_a_mistake_leaves_it_alone(either: Daemons) -> None:
    daemon = either()
    daemon.start()
    good = daemon.file.read_text()
    daemon.file.write_text("x = = 1\n" + good)
    for target in (daemon.name, str(daemon.path)):
        code, said = dorrit_says("restart", target)
        assert (code, said.splitlines()) == (
            1,
            [
                f"dorrit: {daemon.file}: line 1: invalid syntax",
                f"dorrit: {target}: not restarted: process {daemon.pid} goes on",
            ],
        )
    assert daemon.ask("still there?") == "still there?"
    daemon.file.write_text(good)
    first = daemon.pid
    restarted(daemon, f"stopped process {first}")
    assert daemon.stop() == 0
    assert daemon.files == set()


def test_O4_restart_of_a_file_that_is_a_program_is_checked_as_well(either: Daemons) -> None:
    daemon = either()
    daemon.write("""
        import pathlib
        pathlib.Path(__file__).with_name("loaded").open("a").write(__name__ + " ")
    """)
    good = daemon.file.read_text() + "\n\ndorrit.main()\n"
    daemon.file.write_text(good)
    daemon.start(command=[daemon.interpreter, str(daemon.file), *daemon.options])
    daemon.file.write_text("raise ValueError(7)\n")
    code, said = dorrit_says("restart", daemon.name)
    assert code == 1
    assert said.endswith(f"dorrit: {daemon.name}: not restarted: process {daemon.pid} goes on\n")
    daemon.file.write_text(good.replace("ws_open_callback", "ws_opn_callback"))
    code, said = dorrit_says("restart", daemon.name)
    assert code == 1
    assert "did you mean ws_open_callback?" in said
    assert daemon.ask("still there?") == "still there?"
    daemon.file.write_text(good)
    assert dorrit_says("restart", daemon.name)[0] == 0
    daemon.pid = int(daemon.pid_file.read_text())
    assert daemon.ask("again") == "again"
    loaded = daemon.file.with_name("loaded").read_text().split()
    assert loaded == 4 * ["__main__"]


def test_O4_restart_after_a_start_that_failed_is_possible(either: Daemons) -> None:
    daemon = either()
    daemon.start()
    good = daemon.file.read_text()
    wrong = good + "\ndef ws_init_func(): raise ValueError(7)\n"
    daemon.file.write_text(wrong)
    code, said = dorrit_says("restart", daemon.name)
    assert code == 1
    assert said.startswith(f"{daemon.name}: stopped process {daemon.pid}\n")
    assert said.endswith("dorrit: ws_init_func raised ValueError: 7\n")
    assert daemon.files == {".command"}
    code, said = dorrit_says("restart", daemon.name)
    assert (code, said.splitlines()[0]) == (1, f"{daemon.name}: not running")
    daemon.file.write_text(good)
    restarted(daemon, "not running")
    assert daemon.stop() == 0
    assert daemon.files == set()


def test_O4_restart_after_a_start_handler_that_raised_is_possible(either: Daemons) -> None:
    daemon = either()
    start = f"""
        import dorrit
        app = dorrit.Server({daemon.name!r})
        @app.on_message
        def echo(conn, message):
            conn.send(message)
    """
    good = textwrap.dedent(start)
    daemon.file.write_text(good)
    daemon.file.chmod(0o644)
    daemon.start()
    daemon.file.write_text(good + "\n@app.on_start\ndef start():\n    raise ValueError(7)\n")
    code, said = dorrit_says("restart", daemon.name)
    assert code == 1
    assert said.endswith("dorrit: on_start raised ValueError: 7\n")
    assert daemon.files == {".command"}
    daemon.file.write_text(good)
    restarted(daemon, "not running")


def test_O4_restart_after_kill_9(either: Daemons) -> None:
    daemon = either()
    daemon.start()
    daemon.kill()
    assert daemon.wait() == -signal.SIGKILL
    until(lambda: daemon.files == {".command"}, "the janitor's work")
    command = RUN / f"{daemon.name}.command"
    assert (command.stat().st_uid, command.stat().st_mode & 0o777) == (0, 0o600)
    restarted(daemon, "not running")
    assert dorrit_says("stop", daemon.name)[0] == 0
    assert daemon.files == set()


@pytest.mark.root
def test_status_by_name_finds_a_socket_elsewhere(either: Daemons) -> None:
    daemon = either()
    daemon.path = daemon.file.parent / "elsewhere"
    daemon.start("-l", daemon.path)
    code, said = dorrit_says("status", daemon.name)
    assert code == 0
    assert f"socket      {daemon.path}\n" in said
    assert dorrit_says("status", daemon.path)[0] == 0
    assert dorrit_says("stop", daemon.name)[0] == 0
    assert not list(daemon.path.parent.glob("elsewhere*"))


@pytest.mark.root
def test_R24_R26_a_daemon_that_nobody_starts_has_no_pid_file(
    either: Daemons, log: LogDaemon, directory: Path
) -> None:
    daemon = either()
    log.identities = (daemon.name,)
    own = directory / "own"
    own.mkdir()
    os.chown(own, NOBODY.pw_uid, NOGROUP)
    path = own / "x.socket"
    command = [interpreter_for_nobody(), *daemon.command("-l", path)[1:]]
    environment = os.environ | {"PYTHONPATH": SEARCHED}
    who = {"user": NOBODY.pw_uid, "group": NOGROUP, "extra_groups": []}
    started = daemon.run(command=command, env=environment, **who)
    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    assert {file.name for file in own.iterdir()} == {
        "x.socket", "x.socket.lock", "x.status", "x.command"
    }  # fmt: skip
    assert daemon.files == set()
    assert daemon.janitor is None
    daemon.pid = int((own / "x.socket.lock").read_text())
    for pid in daemon.processes:
        expect_privileges(pid, NOBODY.pw_uid, NOGROUP, set())
    code, said = dorrit_says("status", path)
    assert (code, said.splitlines()[0]) == (0, f"{path}: running as process {daemon.pid}")
    assert dorrit_says("stop", path) == (0, f"{path}: stopped process {daemon.pid}\n")
    assert list(own.iterdir()) == []


@pytest.mark.root
@pytest.mark.parametrize(
    ("flag", "why"),
    [("-u", "only root can change to another user"), ("-g", "this user is not in that group")],
)
def test_R26_who_is_not_root_cannot_become_another(daemons: Daemons, flag: str, why: str) -> None:
    daemon = daemons()
    command = [interpreter_for_nobody(), *daemon.command(flag, "root")[1:]]
    environment = os.environ | {"PYTHONPATH": SEARCHED}
    ended = daemon.run(
        command=command, env=environment, user=NOBODY.pw_uid, group=NOGROUP, extra_groups=[]
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"dorrit: {flag} root: {why}; start the server as root or as ")


# Its log


@pytest.mark.root
def test_R23_it_logs_to_syslog_under_its_name_with_its_pid(either: Daemons, log: LogDaemon) -> None:
    daemon = either("""
        def ws_read_callback(conn, binary, data):
            raise ValueError("about\\n<0>\\x1b[31m" + data.decode())
    """)
    log.identities = (daemon.name,)
    started = daemon.start()
    assert "listening" not in started.stderr
    message = log.received()
    while message[0] == FACILITY_DAEMON | 4:  # that its user can't run the tests' Python
        message = log.received()
    listening = f"listening on {daemon.path}"
    assert message == (FACILITY_DAEMON | 6, daemon.name, daemon.pid, listening)
    server = daemon.server
    client = daemon.connect()
    client.send("a client's text")
    assert client.close_code() == 1011
    client.socket.close()
    messages = [log.received()]
    while "a client's text" not in messages[-1][3]:
        messages.append(log.received())
    # Its own process says what its code has done.
    ours = (FACILITY_DAEMON | 3, daemon.name, server)
    assert {message[:3] for message in messages} == {ours}
    texts = [message[3] for message in messages]
    assert texts[0] == "the read callback raised ValueError (client 1, /chat)"
    assert texts[1] == "| Traceback (most recent call last):"
    assert f'|   File "{daemon.file}", line ' in "\n".join(texts)
    assert texts[-1].startswith("| <0>\\x1b[31m")
    assert daemon.stop() == 0
    assert "stopping" in log.until_said("stopping")


@pytest.mark.root
def test_R23_cookies_and_queries_are_not_logged_and_what_clients_send_is_escaped(
    either: Daemons, log: LogDaemon
) -> None:
    daemon = either()
    log.identities = (daemon.name,)
    daemon.start("--log-level", "debug")
    daemon.path.stat()
    client = daemon.connect()
    client.socket.close()
    bad = request_with(b"Cookie: session=secret1", b"Upgrade: \x1b[31mred")
    bad = bad.replace(b"GET / ", b"GET /path?token=secret2 ", 1)
    refused = type(client)(daemon.path, bad)
    assert refused.status == 400
    refused.socket.close()
    daemon.stop()
    text = "\n".join(log.until_said("stopping"))
    assert "secret" not in text
    assert "\x1b" not in text
    assert "refused" in text


@pytest.mark.root
def test_R23_sighup_opens_the_log_anew(either: Daemons, log: LogDaemon) -> None:
    daemon = either()
    log.identities = (daemon.name,)
    daemon.start("--log-level", "info")
    log.until_said("listening on")
    # The log daemon is replaced by another one.
    old = log.socket
    DEV_LOG.unlink()
    log.listen()
    daemon.kill(signal.SIGHUP)
    for _ in daemon.processes:
        assert log.until_said("the log was opened anew")
    assert daemon.stop() == 0
    assert log.until_said("stopping")
    old.close()


@pytest.mark.root
def test_R23_the_level_is_the_administrators_choice(either: Daemons, log: LogDaemon) -> None:
    daemon = either()
    log.identities = (daemon.name,)
    daemon.start("--log-level", "error", "-u", "root")  # that it is root is a warning
    daemon.stop()
    assert log.is_silent
