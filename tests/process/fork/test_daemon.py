"""Becoming a daemon (R22), each time by a command of its own."""

import json
import os
import signal
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import proc
from tests.support.servers import Run, Servers, until

BEGINNING = """\
import atexit, json, logging, os, pty, signal, sys, threading, time
from dorrit.process.fork.daemon import detach
from dorrit.process.exec.descriptors import Inherited, open_standard_streams

directory = sys.argv[1]

def tell(name, value):
    with open(f"{directory}/{name}.new", "w") as file:
        json.dump(value, file)
    os.rename(f"{directory}/{name}.new", f"{directory}/{name}")

def be_there():
    signal.alarm(60)
    tell(f"pid{os.getpid()}", os.getpid())

def wait_for(name):
    while not os.path.exists(f"{directory}/{name}"):
        time.sleep(0.005)

def serve():
    tell("serves", os.getpid())
    signal.pause()

"""


class Daemons:
    """Starts daemons."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.directory = servers.directory

    def start(self, code: str, *before: object, **settings: Any) -> Run:
        """Run a command; `before` is what runs it."""
        source = BEGINNING + textwrap.dedent(code)
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        command = [*before, sys.executable, "-c", source, self.directory]
        return self.servers.start(*command, **{"env": buffered} | settings)

    def run(self, code: str, *before: object, **settings: Any) -> Run:
        """Run a command to its end."""
        run = self.start(code, *before, **settings)
        run.wait()
        return run

    def told(self, name: str) -> Any:
        until((self.directory / name).exists, name)
        return json.loads((self.directory / name).read_text())

    def tell(self, name: str) -> None:
        (self.directory / name).touch()

    def serving(self, code: str, *before: object, **settings: Any) -> int:
        """Run a command that must succeed; return the pid of the daemon, which serves."""
        run = self.run(code, *before, **settings)
        assert (run.process.returncode, run.err) == (0, "")
        pid: int = self.told("serves")
        assert not proc.is_gone(pid)
        return pid

    def close(self) -> None:
        for path in self.directory.glob("pid*[0-9]"):
            pid = int(path.read_text())
            if not proc.is_gone(pid):
                # What is killed at once loses what was measured of it.
                os.kill(pid, signal.SIGTERM)
                with suppress(AssertionError):
                    until(partial(proc.is_gone, pid))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                until(partial(proc.is_gone, pid))


@pytest.fixture
def daemons(servers: Servers) -> Iterator[Daemons]:
    made = Daemons(servers)
    yield made
    made.close()


PLAIN = """
readiness = detach()
be_there()
readiness.ready()
serve()
"""


def test_R22_new_session_without_a_terminal_root_directory_dev_null(daemons: Daemons) -> None:
    run = daemons.start(PLAIN, umask=0)
    assert run.wait() == 0
    pid = daemons.told("serves")
    shown = proc.stat(pid)
    assert shown["session"] not in {pid, run.pid, os.getsid(0)}
    assert shown["group"] == shown["session"]
    assert shown["terminal"] == 0
    until(lambda: proc.is_gone(shown["session"]), "the end of the session's leader")
    assert proc.stat(pid)["parent"] not in {run.pid, os.getpid()}
    assert str(Path(f"/proc/{pid}/cwd").readlink()) == "/"
    assert proc.status(pid)["Umask"] == ["0027"]
    assert proc.descriptors(pid) == dict.fromkeys(range(3), "/dev/null")


def test_R22_the_command_returns_when_the_daemon_is_ready_and_not_before(daemons: Daemons) -> None:
    run = daemons.start(
        """
        readiness = detach()
        be_there()
        tell("started", 0)
        wait_for("go on")
        tell("about to be ready", 0)
        readiness.ready()
        serve()
        """
    )
    daemons.told("started")
    assert run.process.poll() is None
    assert proc.descriptors(run.pid).keys() >= {0, 1, 2}
    daemons.tell("go on")
    assert run.wait() == 0
    assert (daemons.directory / "about to be ready").exists()


def test_R22_what_goes_wrong_is_one_line_and_the_daemon_is_gone_before_the_command(
    daemons: Daemons,
) -> None:
    run = daemons.run(
        """
        atexit.register(lambda: tell("undone", os.getpid()))
        readiness = detach()
        be_there()
        tell("daemon", os.getpid())
        readiness.failed("the socket\\ncan't be made: \\udc80", 10)
        """
    )
    assert run.wait() == 10
    assert run.err == "dorrit: the socket can't be made: \\udc80\n"
    daemon = daemons.told("daemon")
    assert proc.is_gone(daemon)
    assert json.loads((daemons.directory / "undone").read_text()) == daemon


@pytest.mark.parametrize("status", [1, 2, 255])
def test_R22_the_status_of_the_command_is_the_one_given(daemons: Daemons, status: int) -> None:
    run = daemons.run(f"detach().failed('no', {status})")
    assert (run.wait(), run.err) == (status, "dorrit: no\n")


def test_R22_a_status_that_is_none_of_a_failure_is_refused(daemons: Daemons) -> None:
    run = daemons.run(
        """
        readiness = detach()
        for status in (0, -1, 256):
            try:
                readiness.failed("no", status)
            except ValueError as error:
                print(error)
        readiness.failed("yes", 3)
        """
    )
    assert run.wait() == 3
    assert run.said == [f"{number} is not an exit status of a failure" for number in (0, -1, 256)]


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", f"was ended by signal {signal.SIGRTMIN + 3}"),
        ("sys.exit(3)", "exited with status 3"),
        ("sys.exit(0)", "exited with status 0"),
        ("os._exit(0)", "exited with status 0"),
    ],
)
def test_R22_a_daemon_that_ends_without_a_word(daemons: Daemons, end: str, message: str) -> None:
    run = daemons.run(f"print('before'); readiness = detach(); {end}")
    assert run.wait() == 1
    assert run.out == "before\n"
    assert run.err == f"dorrit: the server {message} before it was ready\n"


def test_R22_its_end_is_seen_though_a_process_that_it_forked_lives_on(daemons: Daemons) -> None:
    run = daemons.run(
        """
        readiness = detach()
        if os.fork() == 0:
            be_there()
            serve()
        wait_for("serves")
        os._exit(7)
        """
    )
    assert run.wait() == 1
    assert run.err == "dorrit: the server exited with status 7 before it was ready\n"
    assert not proc.is_gone(daemons.told("serves"))


def test_R22_it_is_ready_though_a_process_that_it_forked_lives_on(daemons: Daemons) -> None:
    daemons.serving(
        """
        readiness = detach()
        if os.fork() == 0:
            be_there()
            signal.pause()
        be_there()
        readiness.ready()
        serve()
        """
    )


def test_R22_streams_stay_on_the_terminal_until_it_is_ready(daemons: Daemons) -> None:
    run = daemons.run(
        """
        print("before")
        sys.stderr.write("before, too; ")
        readiness = detach()
        be_there()
        print("while starting")
        os.write(2, b"while starting, too")
        print("in the buffer", end="")
        readiness.ready()
        print("after", flush=True)
        os.write(2, b"after, too")
        serve()
        """
    )
    daemons.told("serves")
    assert run.wait() == 0
    assert run.out == "before\nwhile starting\nin the buffer"
    assert run.err == "before, too; while starting, too"


def test_R8_exit_handlers_and_buffers_belong_to_the_daemon_alone(daemons: Daemons) -> None:
    # All that a process does at its end, which the two that fork leaves behind must not do.
    run = daemons.run(
        """
        class Finalised:
            def __del__(self):
                print("finalised", os.getpid(), flush=True)

        atexit.register(lambda: print("atexit", os.getpid(), flush=True))
        kept = Finalised()
        file = open(f"{directory}/file", "w")
        file.write("once")
        readiness = detach()
        print(os.getpid(), flush=True)
        readiness.failed("done")
        del kept
        """
    )
    assert run.wait() == 1
    daemon, *others = run.said
    assert others == [f"finalised {daemon}", f"atexit {daemon}"]
    assert (daemons.directory / "file").read_text() == "once"


def test_R22_no_terminal_that_it_opens_becomes_its_own(daemons: Daemons) -> None:
    run = daemons.run(
        """
        # A command on a terminal of its own, like one that an administrator has typed.
        pid, master = pty.fork()
        if pid:
            said = b""
            try:
                while data := os.read(master, 4096):
                    said += data
            except OSError:
                pass
            tell("command", [os.waitpid(pid, 0)[1], said.decode()])
            os.close(master)  # the terminal is gone
            sys.exit()
        os.close(os.open("/dev/tty", os.O_RDWR))  # there is one
        readiness = detach()
        be_there()
        try:
            os.open("/dev/tty", os.O_RDWR)
        except OSError as error:
            tell("tty", error.strerror)
        print("on the terminal")
        readiness.ready()
        # One that nobody has yet would become that of a session's leader. (No O_NOCTTY.)
        import fcntl, struct
        master = os.open("/dev/ptmx", os.O_RDWR)
        fcntl.ioctl(master, 0x40045431, struct.pack("i", 0))  # TIOCSPTLCK: unlock it
        number = struct.unpack("i", fcntl.ioctl(master, 0x80045430, bytes(4)))[0]  # TIOCGPTN
        os.open(f"/dev/pts/{number}", os.O_RDWR)
        try:
            os.open("/dev/tty", os.O_RDWR)
        except OSError as error:
            tell("still", error.strerror)
        serve()
        """
    )
    assert run.wait() == 0, run.err
    assert daemons.told("command") == [0, "on the terminal\r\n"]
    pid = daemons.told("serves")
    assert daemons.told("tty") == "No such device or address"
    assert daemons.told("still") == "No such device or address"
    assert proc.stat(pid)["terminal"] == 0
    assert not proc.is_gone(pid)  # nor has it been hung up


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_R22_when_the_command_is_interrupted_the_daemon_does_not_start(
    daemons: Daemons, number: signal.Signals
) -> None:
    run = daemons.start(
        """
        readiness = detach()
        be_there()
        tell("started", os.getpid())
        wait_for("never")
        """
    )
    pid = daemons.told("started")
    # The command has its handlers once it does not block the signal any more.
    until(lambda: int(proc.status(run.pid)["SigBlk"][0], 16) == 0)
    run.process.send_signal(number)
    assert run.wait() == 1
    assert run.err == "dorrit: the server was ended by SIGTERM before it was ready\n"
    assert proc.is_gone(pid)


def test_R22_the_daemon_ignores_signals_of_terminals_and_blocks_none(daemons: Daemons) -> None:
    pid = daemons.serving(PLAIN)
    assert proc.ignored_signals(pid) >= {signal.SIGINT, signal.SIGHUP}
    assert not proc.ignored_signals(pid) & {signal.SIGTERM, signal.SIGCHLD}
    assert int(proc.status(pid)["SigBlk"][0], 16) == 0
    os.kill(pid, signal.SIGTERM)
    until(lambda: proc.is_gone(pid))


@pytest.mark.root
@pytest.mark.parametrize("handler", ["signal.SIG_IGN", "print"])
def test_R22_what_the_server_does_with_its_children_matters_to_the_daemon_only(
    daemons: Daemons, handler: str
) -> None:
    # If the signal is ignored, wait(2) has nothing to tell; a handler is not for those that wait.
    run = daemons.run(
        f"""
        signal.signal(signal.SIGCHLD, {handler})
        readiness = detach()
        assert signal.getsignal(signal.SIGCHLD) == {handler}
        os._exit(3)
        """
    )
    assert run.wait() == 1
    assert run.out == ""
    assert run.err == "dorrit: the server exited with status 3 before it was ready\n"


def test_R22_it_works_if_nobody_waits_any_more(daemons: Daemons) -> None:
    run = daemons.start(
        """
        readiness = detach()
        be_there()
        tell("started", os.getpid())
        wait_for("go on")
        readiness.ready()
        serve()
        """
    )
    pid = daemons.told("started")
    session = proc.stat(pid)["session"]
    run.kill()
    os.kill(session, signal.SIGKILL)
    until(lambda: proc.is_gone(session))
    daemons.tell("go on")
    assert daemons.told("serves") == pid


def test_R22_the_end_of_the_process_between_is_told(daemons: Daemons) -> None:
    run = daemons.start("readiness = detach(); be_there(); tell('started', os.getpid()); serve()")
    os.kill(proc.stat(daemons.told("started"))["session"], signal.SIGKILL)
    assert run.wait() == 1
    assert run.err == "dorrit: the process that starts the server was ended by SIGKILL\n"


@pytest.mark.root
def test_R22_a_system_that_can_not_fork_is_one_line(daemons: Daemons) -> None:
    run = daemons.run(
        """
        import resource
        from dorrit.errors import StartError
        os.setuid(54321)  # to root, the limit does not apply
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        before = os.listdir("/proc/self/fd"), signal.pthread_sigmask(signal.SIG_BLOCK, [])
        try:
            detach()
        except StartError as error:
            print(error)
        print(before == (os.listdir("/proc/self/fd"), signal.pthread_sigmask(signal.SIG_BLOCK, [])))
        """
    )
    assert run.said == ["can't become a daemon: Resource temporarily unavailable", "True"], run.err


def test_R22_threads_that_would_be_lost_are_told_of(daemons: Daemons) -> None:
    run = daemons.run(
        """
        logging.basicConfig(format="%(levelname)s %(message)s")
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        """
        + textwrap.indent(PLAIN, " " * 8)
    )
    assert run.wait() == 0
    assert run.err.startswith("WARNING threads that ws_init_func has started end when the server ")
    assert len(run.err.splitlines()) == 1
    assert proc.status(daemons.told("serves"))["Threads"] == ["1"]


def test_R22_descriptors_of_who_started_it_are_closed(daemons: Daemons) -> None:
    file = daemons.directory / "file"
    shell = f'exec 3>{file} 7<{file} 10>{file}.kept 200>{file}; exec "$@"'
    pid = daemons.serving(
        """
        inherited = Inherited(keep={10})
        opened = open(f"{directory}/opened", "w")  # as in ws_init_func
        passed_on = os.dup(opened.fileno())
        os.set_inheritable(passed_on, True)
        readiness = detach()
        be_there()
        tell("closed", inherited.close())
        readiness.ready()
        serve()
        """,
        "bash", "-c", shell, "bash",
    )  # fmt: skip
    assert daemons.told("closed") == [3, 7, 200]
    shown = proc.descriptors(pid)
    assert [shown.pop(number) for number in (0, 1, 2)] == ["/dev/null"] * 3
    assert shown.pop(10) == f"{file}.kept"
    assert list(shown.values()) == [str(daemons.directory / "opened")] * 2


def test_R22_an_inherited_descriptor_serves_until_then_and_another_of_its_number_stays(
    daemons: Daemons,
) -> None:
    # As in `-f <(command)`; ws_init_func reads it, closes it, and opens a file of its own.
    file = daemons.directory / "file"
    file.write_text("some settings")
    pid = daemons.serving(
        """
        inherited = Inherited()
        assert os.read(3, 100) == b"some settings"
        os.close(3)
        own = os.open(f"{directory}/opened", os.O_CREAT)
        assert own == 3
        os.set_inheritable(own, True)
        readiness = detach()
        be_there()
        assert inherited.close() == [5]
        assert inherited.close() == []
        readiness.ready()
        serve()
        """,
        "bash", "-c", f'exec 3<{file} 5<{file}; exec "$@"', "bash",
    )  # fmt: skip
    assert proc.descriptors(pid)[3] == str(daemons.directory / "opened")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_R22_closed_standard_streams_do_no_harm(daemons: Daemons, closed: str) -> None:
    # Otherwise the first descriptor that is opened is one of them, and gets what is printed.
    pid = daemons.serving(
        """
        open_standard_streams()
        tell("streams", [os.fstat(number).st_rdev for number in range(3)])
        opened = open(f"{directory}/opened", "w")
        readiness = detach()
        be_there()
        os.write(1, b"out")
        os.write(2, b"")
        readiness.ready()
        os.write(2, b"error")
        serve()
        """,
        "sh", "-c", f'exec "$@" {closed}', "sh",
    )  # fmt: skip
    null = Path("/dev/null").stat().st_rdev
    assert daemons.told("streams").count(null) >= len(closed.split())
    shown = proc.descriptors(pid)
    assert [shown.pop(number) for number in (0, 1, 2)] == ["/dev/null"] * 3
    assert list(shown.values()) == [str(daemons.directory / "opened")]
    assert (daemons.directory / "opened").read_text() == ""


@pytest.mark.parametrize("lists", ["[]", '[f"{directory}/none"]', '[f"{directory}/fd"]'])
def test_R22_where_descriptors_are_not_listed_they_are_tried(daemons: Daemons, lists: str) -> None:
    # FreeBSD's /dev/fd has 0, 1 and 2 only, unless fdescfs(5) is mounted there.
    (daemons.directory / "fd").mkdir()
    for number in range(3):
        (daemons.directory / "fd" / str(number)).touch()
    file = daemons.directory / "file"
    run = daemons.run(
        f"""
        from dorrit.process.exec import descriptors
        descriptors.LISTS = {lists}
        print(Inherited().close())
        """,
        "bash", "-c", f'exec 3>{file} 200>{file}; exec "$@"', "bash",
    )  # fmt: skip
    assert run.said == ["[3, 200]"], run.err


def test_R22_without_descriptors_for_dev_null_the_command_says_so(daemons: Daemons) -> None:
    run = daemons.run(
        """
        import resource
        from dorrit.errors import StartError
        readiness = detach()
        be_there()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            readiness.ready()
        except StartError as error:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            readiness.failed(str(error))
        """
    )
    assert run.process.returncode == 1
    assert run.err == "dorrit: /dev/null: Too many open files\n"


def test_R22_a_closed_standard_stream_becomes_dev_null_as_well(daemons: Daemons) -> None:
    pid = daemons.serving(
        """
        readiness = detach()
        be_there()
        os.close(0)
        readiness.ready()
        serve()
        """
    )
    assert proc.descriptors(pid) == dict.fromkeys(range(3), "/dev/null")


def test_R22_a_second_word_is_nobodys(daemons: Daemons) -> None:
    daemons.serving(
        """
        readiness = detach()
        be_there()
        readiness.ready()
        readiness.ready()
        readiness.failed("too late")
        serve()
        """
    )


def test_R22_a_daemon_whose_command_was_killed_goes_on(daemons: Daemons) -> None:
    run = daemons.start(
        """
        readiness = detach()
        be_there()
        tell("started", os.getsid(0))
        wait_for("go on")
        readiness.ready()
        serve()
        """
    )
    session = daemons.told("started")
    run.kill()
    os.kill(session, signal.SIGKILL)
    until(partial(proc.is_gone, session))
    daemons.tell("go on")
    assert not proc.is_gone(daemons.told("serves"))


@pytest.mark.root
def test_R22_a_system_that_can_not_fork_twice_is_one_line(daemons: Daemons) -> None:
    run = daemons.run(
        """
        import resource
        os.setuid(54322)  # which no other process has
        resource.setrlimit(resource.RLIMIT_NPROC, (2, 2))
        detach()
        """
    )
    assert run.process.returncode == 1
    assert run.err == "dorrit: can't become a daemon: Resource temporarily unavailable\n"


def test_R22_a_long_line_is_printed_whole(daemons: Daemons) -> None:
    run = daemons.run("detach().failed('x' * 10_000)")
    assert run.process.returncode == 1
    assert run.err == f"dorrit: {'x' * 10_000}\n"


def test_R22_a_daemon_that_has_ended_before_its_word_is_read_is_heard(daemons: Daemons) -> None:
    run = daemons.start(
        """
        readiness = detach()
        be_there()
        os.kill(os.getsid(0), signal.SIGSTOP)
        tell("pids", [os.getsid(0), os.getpid()])
        readiness.failed("no room", 3)
        """
    )
    session, daemon = daemons.told("pids")
    until(partial(proc.is_gone, daemon))
    os.kill(session, signal.SIGCONT)
    assert run.wait() == 3
    assert run.err == "dorrit: no room\n"
