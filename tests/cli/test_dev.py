"""The command `dorrit dev` as a user runs it: real processes, real files, real clients."""

import contextlib
import http.client
import os
import queue
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from dorrit.cli.dev import OWN
from dorrit.dev import grace_of
from dorrit.dev.supervisor import GRACE
from dorrit.settings import SETTINGS
from dorrit.settings.readers import text_of

TIMEOUT = 60.0

SERVER = """
import os
import dorrit

def ws_init_func(): pass
def ws_exit_func(): pass
def ws_open_callback(conn, cookie):
    dorrit.ws_write_conn(conn, False, str(os.getpid()))
def ws_close_callback(conn): pass
def ws_read_callback(conn, binary, data):
    dorrit.ws_write_conn(conn, False, "one")
"""

CONFIGURED = SERVER.replace('"one"', "open(dorrit.ws_config_file).read()")

CRASHING = SERVER.replace('dorrit.ws_write_conn(conn, False, "one")', "os._exit(3)")


class Dev:
    """The command with a server file, and its lines on stderr as they come."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        # A process group of its own: what a terminal sends for Ctrl-C goes to the whole group.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dorrit", "dev", *arguments],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
            env={**os.environ, **(environment or {})},
        )
        self.lines: list[str] = []
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first line that matches, of those that have come or will."""
        for earlier in self.lines:
            if found := re.search(pattern, earlier):
                return found
        deadline = time.monotonic() + TIMEOUT
        while (line := self._queue.get(timeout=deadline - time.monotonic())) is not None:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"ended without {pattern!r}: {self.lines}")

    def open_port(self) -> int:
        return int(self.wait_for(r"open http://127\.0\.0\.1:(\d+)/$")[1])

    def exit_status(self) -> int:
        """Wait for the end, with the rest of the lines in ``lines``."""
        status = self.process.wait(TIMEOUT)
        self._reader.join()
        while (line := self._queue.get(timeout=TIMEOUT)) is not None:
            self.lines.append(line)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(TIMEOUT)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def server(tmp_path: Path) -> Path:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return path


@contextlib.contextmanager
def client_of(port: int) -> Iterator[tuple[ClientConnection, int]]:
    """A client, and the process id of the server."""
    origin = Origin(f"http://127.0.0.1:{port}")
    with connect(f"ws://127.0.0.1:{port}/", origin=origin, open_timeout=TIMEOUT) as client:
        yield client, int(client.recv(TIMEOUT))


def ask(port: int) -> str:
    with client_of(port) as (client, _pid):
        client.send("?")
        return str(client.recv(TIMEOUT))


def rewrite(path: Path, text: str) -> None:
    """As most editors do it: the new file takes the place of the old one, which is never empty."""
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_serves_the_page_and_passes_upgrades_to_a_private_socket(server: Path) -> None:
    with Dev(str(server), "--port", "0") as dev:
        assert dev.wait_for("")[0] == ""
        assert dev.lines == ["dorrit dev: for development only, not for the public"]
        socket_path = Path(dev.wait_for("listening on (/.*)")[1])
        port = dev.open_port()
        page = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        with contextlib.closing(page):
            page.request("GET", "/")
            assert b"dorrit dev" in page.getresponse().read()
        assert ask(port) == "one"
        directory = socket_path.parent.stat()
        assert stat.S_IMODE(directory.st_mode) == 0o700
        assert directory.st_uid == os.getuid()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_to_the_group_stops_all_of_it_cleanly(
    server: Path, number: signal.Signals
) -> None:
    with Dev(str(server), "--port", "0") as dev:
        directory = Path(dev.wait_for("listening on (/.*)")[1]).parent
        port = dev.open_port()
        with client_of(port) as (client, pid):
            os.killpg(dev.process.pid, number)
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(TIMEOUT)
            # R27: "send 1001 to every client".
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert dev.exit_status() == 0
        assert not directory.exists()
        assert is_gone(pid)
        assert not [line for line in dev.lines if "Traceback" in line]


def test_the_server_does_not_outlive_a_command_that_was_killed(server: Path) -> None:
    with Dev(str(server), "--port", "0") as dev:
        directory = Path(dev.wait_for("listening on (/.*)")[1]).parent
        with client_of(dev.open_port()) as (_client, pid):
            assert not is_gone(pid)
            dev.process.kill()
            wait_until(lambda: is_gone(pid))
        dev.process.wait(TIMEOUT)
        # Nobody was left to do this.
        directory.rmdir()


def test_a_change_restarts_the_server(server: Path) -> None:
    with Dev(str(server), "--port", "0") as dev:
        port = dev.open_port()
        with client_of(port) as (client, first_pid):
            rewrite(server, SERVER.replace("one", "two"))
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(TIMEOUT)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        dev.wait_for("server.py changed, restarting")
        dev.wait_for("the server listens again")
        assert ask(port) == "two"
        with client_of(port) as (_client, second_pid):
            assert second_pid != first_pid
        assert is_gone(first_pid)


@pytest.mark.root
def test_root_is_warned_once(server: Path) -> None:
    with Dev(str(server), "--port", "0") as dev:
        dev.open_port()
        assert [" the server runs as root: " in line for line in dev.lines].count(True) == 1
        for answer in ("two", "three"):
            dev.lines.clear()
            rewrite(server, SERVER.replace("one", answer))
            dev.wait_for("the server listens again")
            assert [line for line in dev.lines if "root" in line] == []


def test_a_change_of_what_the_server_imports_restarts_it(server: Path, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    part = tmp_path / "parts" / "answers.py"
    part.write_text("answer = 'first'")
    server.write_text("from parts.answers import answer\n" + SERVER.replace('"one"', "answer"))
    with Dev(str(server), "--port", "0") as dev:
        port = dev.open_port()
        assert ask(port) == "first"
        rewrite(part, "answer = 'second'")
        dev.wait_for("answers.py changed, restarting")
        dev.wait_for("the server listens again")
        assert ask(port) == "second"


def test_a_change_of_the_configuration_file_restarts_the_server(
    server: Path, tmp_path: Path
) -> None:
    config_file = tmp_path / "etc" / "chat.conf"
    config_file.parent.mkdir()
    config_file.write_text("red")
    server.write_text(CONFIGURED)
    with Dev(str(server), "--port", "0", "-f", str(config_file)) as dev:
        port = dev.open_port()
        assert ask(port) == "red"
        rewrite(config_file, "blue")
        dev.wait_for("chat.conf changed, restarting")
        dev.wait_for("the server listens again")
        assert ask(port) == "blue"


def test_an_error_in_a_change_is_shown_and_its_repair_is_awaited(server: Path) -> None:
    with Dev(str(server), "--port", "0") as dev:
        port = dev.open_port()
        rewrite(server, "def broken(:\n")
        dev.wait_for(r"server\.py: line 1: ")
        dev.wait_for("the server ended with exit status 1; waiting for a change")
        with pytest.raises(InvalidStatus) as refusal:
            ask(port)
        assert refusal.value.response.status_code == 503
        rewrite(server, SERVER.replace("one", "repaired"))
        dev.wait_for("the server listens again")
        assert ask(port) == "repaired"


@pytest.mark.parametrize(
    ("end", "words"),
    [("os._exit(3)", "ended with exit status 3"), ("os.kill(os.getpid(), 9)", "ended by SIGKILL")],
)
def test_a_server_that_crashes_is_not_restarted_before_a_change(
    server: Path, end: str, words: str
) -> None:
    server.write_text(CRASHING.replace("os._exit(3)", end))
    with Dev(str(server), "--port", "0") as dev:
        port = dev.open_port()
        with pytest.raises(ConnectionClosed):
            ask(port)
        dev.wait_for(f"the server {words}; waiting for a change")
        with pytest.raises(InvalidStatus) as refusal:
            ask(port)
        assert refusal.value.response.status_code == 503
        rewrite(server, SERVER)
        dev.wait_for("the server listens again")
        assert ask(port) == "one"
        dev.process.send_signal(signal.SIGINT)
        assert dev.exit_status() == 0
        # Started twice in all.
        assert len([line for line in dev.lines if "listening on" in line]) == 2


def test_a_server_that_cannot_be_started_ends_the_command_with_its_status(
    server: Path,
) -> None:
    server.write_text(SERVER.replace("ws_read_callback", "ws_reed_callback"))
    with Dev(str(server), "--port", "0") as dev:
        assert dev.exit_status() == 1
        assert "ws_reed_callback" in dev.lines[1]
        assert dev.lines[2] == "dorrit dev: the server ended with exit status 1"
        assert len(dev.lines) == 3


def test_a_missing_file_is_said_in_one_line(tmp_path: Path) -> None:
    with Dev(str(tmp_path / "missing.py"), "--port", "0") as dev:
        assert dev.exit_status() == 1
        assert re.search(r"missing\.py: there is no such file", dev.lines[1])


def test_a_missing_directory_is_said_in_one_line(tmp_path: Path) -> None:
    with Dev(str(tmp_path / "no" / "missing.py"), "--port", "0") as dev:
        assert dev.exit_status() == 1
        assert any("there is no such file" in line for line in dev.lines)
        assert not any("Traceback" in line for line in dev.lines)


def test_a_port_in_use_is_said_in_one_line(server: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with Dev(str(server), "--port", str(port)) as dev:
            assert dev.exit_status() == 1
            assert dev.lines[1:] == [
                f"dorrit dev: cannot listen on 127.0.0.1:{port}: Address already in use"
            ]


def test_without_watchfiles_it_says_so_and_serves(server: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "watchfiles.py").write_text("raise ImportError")
    paths = [str(absent), *filter(None, [os.environ.get("PYTHONPATH")])]
    server.write_text(CRASHING)
    environment = {"PYTHONPATH": os.pathsep.join(paths)}
    with Dev(str(server), "--port", "0", environment=environment) as dev:
        dev.wait_for(r"no restart on changes without watchfiles: pip install 'dorrit\[dev\]'")
        port = dev.open_port()
        # Nothing would tell of a change: there is nothing to wait for.
        with pytest.raises(ConnectionClosed):
            ask(port)
        assert dev.exit_status() == 3
        assert dev.lines[-1] == "dorrit dev: the server ended with exit status 3"


def test_the_options_of_serve_are_passed_on(server: Path) -> None:
    with Dev(str(server), "--port", "0", "-b", "100") as dev, client_of(dev.open_port()) as (c, _):
        c.send("x" * 95)
        assert c.recv(TIMEOUT) == "one"
        c.send("x" * 96)
        with pytest.raises(ConnectionClosed) as closed:
            c.recv(TIMEOUT)
        # R5: a payload "larger than the buffer size less 5".
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_without_a_server_it_runs_one_that_sends_everything_back() -> None:
    with Dev("--port", "0") as dev:
        port = dev.open_port()
        origin = Origin(f"http://127.0.0.1:{port}")
        with connect(f"ws://127.0.0.1:{port}/", origin=origin, open_timeout=TIMEOUT) as client:
            for message in ("hello", b"bytes"):
                client.send(message)
                assert client.recv(TIMEOUT) == message


ALL_SERVED = """
import dorrit

app = dorrit.Server("walk")

@app.on_open
def opened(conn):
    conn.send(str(conn.request.client))

@app.on_message
async def said(conn, message):
    conn.send(message)
"""

# Of each option a value with which a client may still come in, if it is not the default.
VALUES = {
    "user": str(os.geteuid()),
    "group": str(os.getegid()),
    "config_file": "/dev/null",
    "log_level": "debug",
    "origin": "same",
    "trust": "X-Real-IP",
    # The front is not of this user, and passes all the same.
    "allow_peer": "65534",
    "health": "/health",
    "deflate_takeover": "both",
    "deflate_window_bits": "9",
    "max_head": "1024",
    "max_message": "1000",
    "max_message_rate": "1000",
    "slow_clients": "close",
    "max_pending_bytes": "100000",
    "ping_interval": "20",
    "idle_timeout": "60",
    "event_loop": "asyncio",
}


def test_each_option_of_serve_is_taken_and_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "server.py"
    path.write_text(ALL_SERVED)
    options = []
    for setting in SETTINGS:
        if setting.name in OWN:
            continue
        if setting.metavar is None:
            options.append(setting.option)
        elif setting.name in VALUES or setting.default not in (None, ()):
            value = VALUES.get(setting.name, text_of(setting.default))
            options.append(f"{setting.option}={value}")
    given = {option.partition("=")[0] for option in options}
    assert given >= {"--origin", "--allow-peer", "--trust", "--health", "--deflate", "--rfc"}
    # Together, and those that the front has to know one by one as well.
    alone = [[option] for option in options if option.partition("=")[0] in (
        "--origin", "--allow-peer", "--health", "--handshake-timeout")]  # fmt: skip
    for chosen in [options, *alone]:
        with Dev(f"{path}:app", "--port", "0", *chosen) as dev:
            port = dev.open_port()
            origin = Origin(f"http://127.0.0.1:{port}")
            with connect(f"ws://127.0.0.1:{port}/", origin=origin) as client:
                assert client.recv(TIMEOUT) == ("127.0.0.1" if chosen is options else "None")
                client.send("x" * 900)
                assert client.recv(TIMEOUT) == "x" * 900
            if "--health=/health" in chosen:
                asking = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
                with contextlib.closing(asking):
                    asking.request("GET", "/health")
                    assert asking.getresponse().read() == b"ok\n"


def test_pages_of_an_origin_that_is_named_may_connect_and_others_may_not(tmp_path: Path) -> None:
    path = tmp_path / "server.py"
    path.write_text(ALL_SERVED)
    with Dev(f"{path}:app", "--port", "0", "--origin", "http://localhost:5173") as dev:
        url = f"ws://127.0.0.1:{dev.open_port()}/"
        with connect(url, origin=Origin("http://localhost:5173")) as client:
            assert client.recv(TIMEOUT) == "None"
        with pytest.raises(InvalidStatus) as refused:
            connect(url, origin=Origin("http://localhost:5174"))
        assert refused.value.response.status_code == 403
        assert "--origin" in dev.wait_for("refused: 403").string


def test_a_server_has_the_time_to_stop_that_it_was_told() -> None:
    assert grace_of({}) == GRACE
    assert grace_of({"stop_grace": 20.0}) > 30
    assert grace_of({"stop_timeout": 1.0, "stop_grace": 0.0}) > 1


def test_a_directory_is_served_instead_of_the_page(server: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("my own page")
    with Dev(str(server), "--port", "0", "--static", str(site)) as dev:
        port = dev.open_port()
        page = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        with contextlib.closing(page):
            page.request("GET", "/")
            assert page.getresponse().read() == b"my own page"
        assert ask(port) == "one"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["server.py", "--port", "65536"], "not a port (0 to 65535): '65536'"),
        (["server.py", "--port", "-1"], "--port"),
        (["server.py", "--port", "http"], "not a port (0 to 65535): 'http'"),
        (["server.py", "--static", "/nonexistent"], "not a directory: '/nonexistent'"),
        (["server.py", "--host", "0.0.0.0"], "--host"),
        (["server.py", "-b", "9"], "9 is out of range"),
        (["server.py", "-l", "/tmp/socket"], "-l"),
    ],
)
def test_a_wrong_command_line_is_refused_with_2(arguments: list[str], complaint: str) -> None:
    with Dev(*arguments) as dev:
        assert dev.exit_status() == 2
        assert complaint in dev.lines[-1]
