"""``dorrit check``: what serve would stumble over is found without a start (O3)."""

import os
import signal
from pathlib import Path

import pytest

from tests.cli.test_mistakes import picture
from tests.support.children import NOBODY
from tests.support.servers import FIVE, Servers, dorrit, until

GOOD = """
import pathlib
import dorrit

app = dorrit.Server("checked")

def told(*_):
    pathlib.Path(__file__).with_name("called").touch()

@app.on_start
def start():
    told()

@app.on_message
def echo(conn, message):
    told()
"""


def checked(servers: Servers, *words: object, **settings: object) -> tuple[int, str, list[str]]:
    """Run ``dorrit check``; return its status and what it says, and see that it makes nothing."""
    before = picture(servers.directory)
    run = servers.run(*dorrit("check", *words), **settings)
    assert picture(servers.directory) == before
    return run.wait(), run.out, run.err.splitlines()


def served(servers: Servers, *words: object) -> tuple[int, list[str]]:
    """Run ``dorrit serve``, which must fail; return its status and what it says."""
    run = servers.run(*dorrit("serve", *words))
    return run.wait(), run.err.splitlines()


@pytest.fixture
def good(servers: Servers) -> Path:
    path = servers.directory / "good.py"
    path.write_text(GOOD)
    return path


def test_O3_a_good_server_is_ok_and_none_of_its_functions_is_called(
    servers: Servers, good: Path
) -> None:
    assert checked(servers, "good.py:app") == (0, "good.py:app: ok\n", [])
    assert checked(servers, "good") == (0, "good: ok\n", [])
    assert checked(servers, good, "-x", "-l", servers.path) == (0, f"{good}: ok\n", [])


def test_O3_five_functions_are_loaded_and_not_called(servers: Servers) -> None:
    path = servers.write("def ws_init_func(): raise AssertionError")
    assert checked(servers, path) == (0, f"{path}: ok\n", [])


@pytest.mark.parametrize("end", ["app.run()", "if __name__ == '__main__':\n    app.run()"])
def test_O3_a_file_that_ends_with_run_is_checked_as_well(
    servers: Servers, good: Path, end: str
) -> None:
    good.write_text(GOOD + end)
    assert checked(servers, good) == (0, f"{good}: ok\n", [])
    path = servers.write("dorrit.main()")
    assert checked(servers, path) == (0, f"{path}: ok\n", [])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = = 1", ()),
        ("import nothing_of_this_name", ()),
        ("raise ValueError(7)", ()),
        ("", ()),
        (FIVE + "def ws_open_calback(): pass", ()),
        ("import dorrit\napp, other = dorrit.Server(), dorrit.Server()", ()),
        ("import dorrit\napp = dorrit.Server(max_mesage=7)", ()),
        ("import dorrit\napp = dorrit.Server()\n@app.on_message\ndef g(): pass", ()),
        (GOOD, ("--max-per-client", "7")),
        (GOOD, ("--deflate", "--no-rfc")),
        (GOOD, ("-m", "0")),
        (GOOD, ("-u", "no-such-user")),
        (GOOD, ("-g", "no-such-group")),
        (GOOD.replace('"checked"', '"checked", user="no-such-user"'), ()),
        (GOOD.replace('"checked"', '"checked", allow_peer="no-such-user"'), ()),
        (GOOD, ("-l", "/tmp/" + "x" * 200)),
        (GOOD, ("-l", "/tmp/" + "x" * 99)),
        (GOOD.replace('"checked"', f'"{"x" * 100}"'), ()),
    ],
)
def test_O3_a_mistake_is_said_as_serve_says_it_and_with_its_status(
    servers: Servers, source: str, words: tuple[str, ...]
) -> None:
    path = servers.directory / "wrong.py"
    path.write_text(source)
    status, lines = served(servers, path, "-x", *words)
    assert status in {1, 2}
    assert lines[-1].startswith("dorrit: ")
    expected = [line.replace("dorrit serve --help", "dorrit check --help") for line in lines]
    # `serve` warns that it runs as root before it looks at paths.
    expected = [line for line in expected if " the server runs as root: " not in line]
    assert checked(servers, path, "-x", *words) == (status, "", expected)


def test_O3_every_mistake_is_said_in_one_run(servers: Servers, good: Path) -> None:
    words = ("-u", "no-such-user", "-g", "no-such-group", "--allow-peer", "no-such-peer")
    assert checked(servers, good, *words) == (
        1,
        "",
        [
            "dorrit: -u no-such-user: there is no such user; give a name or a number",
            "dorrit: -g no-such-group: there is no such group; give a name or a number",
            "dorrit: --allow-peer no-such-peer: there is no such user; give a name or a number",
        ],
    )
    good.write_text("x = = 1")
    _, _, lines = checked(servers, good, *words)
    assert len(lines) == 4
    assert lines[0] == f"dorrit: {good}: line 1: invalid syntax"


def test_O3_a_file_that_exits_is_a_mistake_whatever_its_status(servers: Servers) -> None:
    path = servers.write("sys.exit(0)")
    line = "dorrit: the server's code exits while it is loaded: 0"
    assert checked(servers, path) == (1, "", [line])


def test_O3_an_ordinary_user_may_check_what_root_will_run(servers: Servers, good: Path) -> None:
    servers.directory.chmod(0o755)
    good.chmod(0o644)
    code = (
        "import os, shutil, sys; from dorrit.cli import check, main; os.setgroups([]); "
        f"os.setresgid(*3 * [{NOBODY}]); os.setresuid(*3 * [{NOBODY}]); sys.exit(main())"
    )
    for parent in servers.directory.parents[:-1]:
        parent.chmod(parent.stat().st_mode | 0o011)
    run = servers.run(dorrit()[0], "-c", code, "check", good, "-u", "root", "-g", "root")
    assert (run.wait(), run.out, run.err) == (0, f"{good}: ok\n", "")


def test_O3_it_looks_at_no_socket_and_leaves_a_server_that_runs_alone(servers: Servers) -> None:
    run = servers.serve("")
    words = dorrit("check", run.path.with_name("server.py"), "-l", servers.path)
    assert servers.run(*words).wait() == 0
    assert servers.connect().ask("still there?") == "still there?"
    missing = "/nonexistent/directory/socket"
    assert servers.run(*dorrit("check", servers.directory / "server.py", "-l", missing)).wait() == 0


def test_O3_a_file_that_hangs_can_be_interrupted(servers: Servers) -> None:
    path = servers.write("say('loading')\ntime.sleep(3600)")
    run = servers.start(*dorrit("check", path))
    run.until_said("loading")
    run.process.send_signal(signal.SIGINT)
    assert (run.wait(), run.err) == (-signal.SIGINT, "")


def test_O3_a_thread_of_the_file_does_not_keep_it_from_ending(servers: Servers) -> None:
    path = servers.write(
        "import threading\nthreading.Thread(target=time.sleep, args=(3600,)).start()"
    )
    run = servers.start(*dorrit("check", path))
    until(lambda: run.process.poll() is not None, "its end")
    assert (run.wait(), run.out) == (0, f"{path}: ok\n")
    assert os.fspath(path) not in run.err
