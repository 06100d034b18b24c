"""What comes of a wish for a reload while a server serves (L1, L2)."""

import os
import signal
import sys

import pytest

from dorrit.drive.lasting import difference
from dorrit.process.exec.command import Command
from dorrit.process.running.check_child import CheckChild, Found
from tests.support import proc
from tests.support.reloading import Reloaded
from tests.support.servers import Servers, until


@pytest.fixture
def reloaded(servers: Servers) -> Reloaded:
    return Reloaded(servers)


def expect_refused(servers: Servers, reloaded: Reloaded, reason: str) -> None:
    """The server goes on as it is, and says why; so does the command."""
    client = servers.connect()
    done = reloaded.reload()
    assert done.process.returncode == 1
    assert done.err.startswith(f"dorrit: {servers.path}: not reloaded: ")
    assert reason in done.err
    assert "not reloaded, the server goes on with the code that it has" in reloaded.run.err
    assert reason in reloaded.run.err
    assert client.ask("a") == "1 a"
    assert [line for line in reloaded.run.said if not line.startswith("start 1 ")] == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("broken(", "'(' was never closed"),
        ("raise ValueError('no')", "can't be loaded: ValueError: no"),
        ("raise SystemExit(0)", "exits while it is loaded"),
        ("os._exit(0)", "without a word"),
        ("os.kill(os.getpid(), 9)", "without a word"),
        ("print('last words', flush=True); os._exit(1)", "last words"),
    ],
)
def test_L2_what_can_not_be_loaded_is_refused(
    servers: Servers, reloaded: Reloaded, source: str, reason: str
) -> None:
    reloaded.start()
    reloaded.write(2, source)
    expect_refused(servers, reloaded, reason)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("'other'", "the name would be other and not the default"),
        ("listen='/tmp/other'", ""),
        ("user='nobody'", ""),
    ],
)
def test_L2_another_name_is_refused_and_what_the_command_line_says_stays(
    servers: Servers, reloaded: Reloaded, words: str, reason: str
) -> None:
    reloaded.start()
    reloaded.write(2, f"app = Server({words})\n")
    if reason:
        expect_refused(servers, reloaded, reason)
    else:
        assert reloaded.reload().process.returncode == 0


NOW = {"name": "chat", "listen": "/run/a", "user": "root", "group": None}


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({}, None),
        ({"name": "chat", "more": 1}, None),
        ({"user": "0"}, None),
        ({"user": "nobody"}, "the user would be nobody and not root"),
        ({"user": "there-is-none"}, "the user would be there-is-none and not root"),
        ({"group": "0"}, "the group would be 0 and not the default"),
        ({"listen": "/run/b"}, "the socket would be /run/b and not /run/a"),
        ({"listen": None}, "the socket would be the default and not /run/a"),
        ({"name": None}, "the name would be the default and not chat"),
    ],
)
def test_L2_what_lasts_must_not_differ(new: dict[str, object], expected: str | None) -> None:
    found = difference(NOW, new, is_supervised=False)
    if expected is None:
        assert found is None
    else:
        assert found == f"{expected}, for which it has to be stopped and started"


def test_L2_groups_are_compared_by_their_numbers() -> None:
    now = {"group": "root"}
    assert difference(now, {"group": "0"}, is_supervised=False) is None
    assert difference(now, {"group": "nobody-has-it"}, is_supervised=False) is not None


@pytest.mark.parametrize(
    ("now", "is_supervised", "new", "expected"),
    [
        # What it has got without being told is what its new code may ask for.
        (None, True, "on", None),
        (None, False, "off", None),
        (None, True, "off", "off and not on"),
        (None, False, "on", "on and not off"),
        # What was said is not said any more: it stays as it is.
        ("on", True, None, None),
        ("off", False, None, None),
        (None, True, None, None),
        ("on", True, "off", "off and not on"),
        ("off", False, "on", "on and not off"),
        # It was told to have one, and can't; nor can the new code.
        ("on", False, "on", None),
        ("on", False, "off", None),
    ],
)
def test_L2_W1_a_server_that_has_a_supervisor_keeps_it(
    now: str | None,
    is_supervised: bool,
    new: str | None,
    expected: str | None,
) -> None:
    found = difference({"supervise": now}, {"supervise": new}, is_supervised=is_supervised)
    if expected is None:
        assert found is None
    else:
        assert found == (
            f"the supervisor would be {expected}, for which it has to be stopped and started"
        )


def test_L2_W1_a_look_that_does_not_know_of_supervisors_is_no_other_wish() -> None:
    assert difference({"supervise": "on"}, {}, is_supervised=True) is None


def test_L2_other_settings_apply(servers: Servers, reloaded: Reloaded) -> None:
    reloaded.start()
    first, second = servers.connect(), servers.connect()
    reloaded.write(2, "app = Server(max_connections=2)\n")
    assert reloaded.reload().process.returncode == 0
    assert [one.ask("a") for one in (first, second)] == ["2 a"] * 2
    first.close()
    second.close()
    assert servers.connect().ask("b") == "2 b"


def test_L1_a_wish_during_the_look_is_looked_at_afterwards(
    servers: Servers, reloaded: Reloaded
) -> None:
    wait = """
        if os.environ.get("DORRIT_RESTART") is None and not is_there("looked"):
            Path(__file__).with_name("looks").touch()
            while not is_there("looked"):
                time.sleep(0.01)
    """
    run = reloaded.start()
    client = servers.connect()
    reloaded.write(2, wait)
    reloaded.ask()
    until((servers.directory / "looks").exists)
    reloaded.write(3, "raise ValueError('the newer one')")
    reloaded.ask()
    assert client.ask("a") == "1 a"  # it has taken the signal, or does so before the child ends
    reloaded.touch("looked")
    run.until_logged("the newer one")
    assert client.ask("a") == "1 a"


def test_L1_a_stop_during_the_look_ends_the_child(servers: Servers, reloaded: Reloaded) -> None:
    run = reloaded.start()
    reloaded.write(
        2, "Path(__file__).with_name('child').write_text(str(os.getpid()))\ntime.sleep(3600)\n"
    )
    reloaded.ask()
    child = servers.directory / "child"
    until(lambda: child.exists() and child.read_text())
    assert servers.stop(run) == 0
    until(lambda: proc.is_gone(int(child.read_text())))


def test_L1_a_server_that_handles_the_signal_itself_is_not_reloaded(
    servers: Servers, reloaded: Reloaded
) -> None:
    run = reloaded.start("signal.signal(signal.SIGUSR2, lambda *_: say('mine'))")
    reloaded.ask()
    run.until_said("mine")
    assert servers.connect().ask("a") == "1 a"


def test_L1_no_child_has_the_handler(servers: Servers, reloaded: Reloaded) -> None:
    reloaded.start(
        """
        def said(conn, text):
            pid = os.fork()
            if pid == 0:
                os.kill(os.getpid(), signal.SIGUSR2)
                os._exit(0)
            conn.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
        """
    )
    assert servers.connect().ask("fork") == str(-signal.SIGUSR2)


# The child


def command(source: str) -> Command:
    """A command of Python's, with a variable in its environment."""
    return Command(
        program=sys.executable,
        arguments=("-c", source),
        environment=(b"LOOKS=yes=no",),
        directory="/",
        umask=0o027,
        files=(),
        descriptors=frozenset({998, 999}),
        ignored=frozenset(),
    )


def found_by(child: CheckChild) -> Found:
    found: list[Found] = []

    def look() -> bool:
        if (one := child.poll()) is not None:
            found.append(one)
        return bool(found)

    try:
        until(look)
    finally:
        child.close()
    return found[0]


PASS = "import os; os.write(int(os.environ['DORRIT_CHECK']), b'passed\\n{}'); "


def test_L2_the_child_has_what_the_command_had() -> None:
    source = PASS + "print(os.getcwd(), os.environ['LOOKS'], oct(os.umask(0)))"
    found = found_by(CheckChild(command(source), 60))
    assert found == Found(passed=True, is_late=False, facts={}, output="/ yes=no 0o27")


@pytest.mark.parametrize(
    ("word", "facts"),
    [
        (b'passed\n{"name": "chat"}', {"name": "chat"}),
        (b"passed\n", {}),
        (b"passed\nnonsense", {}),
        (b"passed\n[1]", {}),
    ],
)
def test_L2_the_child_says_what_the_server_would_be(word: bytes, facts: object) -> None:
    source = f"import os; os.write(int(os.environ['DORRIT_CHECK']), {word!r})"
    found = found_by(CheckChild(command(source), 60))
    assert (found.passed, found.facts) == (True, facts)


def test_L2_an_exit_status_is_no_word() -> None:
    found = found_by(CheckChild(command("print('fine')"), 60))
    assert found == Found(passed=False, is_late=False, facts={}, output="fine")


def test_L2_what_takes_too_long_is_ended_with_all_that_it_has_started() -> None:
    source = PASS + "import subprocess, time; p = subprocess.Popen(['sleep', '3600']); "
    source += "print(p.pid, flush=True); time.sleep(3600)"
    child = CheckChild(command(source), 3)
    found = found_by(child)
    assert (found.passed, found.is_late) == (False, True)
    until(lambda: proc.is_gone(int(found.output)))


def test_L2_what_prints_without_an_end_is_cut_and_holds_up_nobody() -> None:
    child = CheckChild(command("while True: print('x' * 1000)"), 1)
    found = found_by(child)
    assert found.is_late
    assert len(found.output) <= 16 * 1024


def test_L2_a_process_that_is_left_behind_is_not_waited_for() -> None:
    source = PASS + "import subprocess; print(subprocess.Popen(['sleep', '3600']).pid)"
    found = found_by(CheckChild(command(source), 60))
    os.kill(int(found.output), signal.SIGKILL)
    assert found.passed


def test_L2_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        CheckChild(command("")._replace(program="/nowhere"), 60)
