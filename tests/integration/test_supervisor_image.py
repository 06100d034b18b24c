"""A reload with a newer dorrit: the supervisor becomes that as well, and keeps all it has."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dorrit
from tests.integration.test_spare import spare_of
from tests.integration.test_supervisor import (
    environment,
    kill,
    until_served,
    worker_of,
    workers_of,
    write,
)
from tests.live.server import reload
from tests.support import proc
from tests.support.frames import REQUEST
from tests.support.servers import Run, Servers, until
from tests.support.servers import dorrit as command_of

NEXT = "9.9.9"
"""The version of the release that is installed while the server runs."""


class Installed:
    """A dorrit of a test's own, which can be replaced.

    Attributes:
        package: Its directory.
        environment: That of a server which has it.
    """

    def __init__(self, directory: Path) -> None:
        self.package = directory / "site" / "dorrit"
        shutil.copytree(Path(dorrit.__file__).parent, self.package)
        variables = environment()
        variables["PYTHONPATH"] = f"{self.package.parent}:{variables['PYTHONPATH']}"
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
        self.environment = variables

    def replace(self, version: str = NEXT) -> None:
        """Install another release."""
        file = self.package / "version.py"
        text = file.read_text().replace(dorrit.__version__, version)
        file.with_suffix(".new").write_text(text)
        file.with_suffix(".new").replace(file)

    def begin(self, text: str) -> None:
        """Have the supervisor's program begin with something else."""
        file = self.package / "drive" / "supervisor.py"
        file.write_text(file.read_text().replace("import json\n", f"{text}import json\n", 1))


@contextlib.contextmanager
def held_up(servers: Servers, installed: Installed) -> Iterator[Callable[[], None]]:
    """Have the next image of the supervisor sleep before it goes on, until what this returns."""
    held = servers.directory / "held"
    held.touch()
    installed.replace()
    installed.begin(
        "import sys, time\nfrom pathlib import Path\n"
        f"while '--check' not in sys.argv and Path({str(held)!r}).exists(): time.sleep(0.01)\n"
    )
    try:
        yield held.unlink
    finally:
        held.unlink(missing_ok=True)


@pytest.fixture
def servers(directory: Path) -> Iterator[Servers]:
    made = Servers(directory)
    yield made
    made.close()


@pytest.fixture
def installed(directory: Path) -> Installed:
    return Installed(directory)


def serve(servers: Servers, installed: Installed, *options: object) -> Run:
    words = servers.command(f"{write(servers)}:app", "--supervise", *options)
    return servers.start(*words, env=installed.environment).until_listening()


def version_of(run: Run) -> str:
    """What `dorrit status` says."""
    said = subprocess.run(
        [str(word) for word in command_of("status", run.path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f": running as process {run.pid}\n" in said
    return said.partition("\nversion ")[2].strip()


def test_W1_a_reload_with_a_newer_release_replaces_the_supervisor_in_place(
    servers: Servers, installed: Installed
) -> None:
    run = serve(servers, installed)
    clients = [servers.connect() for _ in range(20)]
    assert [client.ask("a") for client in clients] == ["a 1"] * 20
    clients.pop().socket.close()
    assert version_of(run) == dorrit.__version__
    installed.replace()
    reload(run)
    assert run.process.poll() is None  # it answers, and not another process with its socket
    assert version_of(run) == NEXT
    assert [client.ask("b") for client in clients] == ["b 2"] * 19
    assert servers.connect().ask("new") == "new 1"
    assert run.err.count(f"the supervisor goes on with dorrit {NEXT}") == 1
    # It keeps what it has got as if it had accepted it itself.
    kill(run)
    assert [client.ask("c") for client in clients] == ["c 3"] * 19
    reload(run)
    assert run.err.count("the supervisor goes on with dorrit") == 1
    assert [client.ask("d") for client in clients] == ["d 4"] * 19
    run.process.terminate()
    assert run.wait() == 0
    assert {client.close_code() for client in clients} == {1001}
    assert "Traceback" not in run.err
    assert not run.path.exists()


def test_it_has_the_descriptors_that_it_had_and_no_others(
    servers: Servers, installed: Installed
) -> None:
    run = serve(servers, installed)
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("a") for client in clients] == ["a 1"] * 3
    spare_of(run.pid)

    def kinds() -> list[str]:
        found = proc.descriptors(run.pid).values()
        return sorted(name.partition(":[")[0] for name in found)

    before = kinds()
    installed.replace()
    reload(run)
    spare_of(run.pid)
    until(lambda: kinds() == before, "the same descriptors")
    assert len(workers_of(run.pid)) == 2


def test_who_comes_while_it_is_replaced_waits_and_is_served(
    servers: Servers, installed: Installed
) -> None:
    run = serve(servers, installed)
    client = servers.connect()
    with held_up(servers, installed) as release:
        asked = subprocess.Popen([str(word) for word in command_of("reload", run.path)])
        until(lambda: str(proc.waits_in(run.pid)).endswith("nanosleep"), "the next image")
        worker = worker_of(run.pid)
        late = socket.socket(socket.AF_UNIX)
        late.connect(str(run.path))
        late.send(REQUEST)
        assert client.ask("meanwhile") == "meanwhile 1"
        release()
    assert asked.wait() == 0
    assert late.recv(1000).startswith(b"HTTP/1.1 101 ")
    assert worker_of(run.pid) != worker
    late.close()


def test_a_worker_that_ends_while_it_is_replaced_is_followed_by_another_one(
    servers: Servers, installed: Installed
) -> None:
    run = serve(servers, installed)
    client = servers.connect()
    assert client.ask("a") == "a 1"
    with held_up(servers, installed) as release:
        os.kill(run.pid, signal.SIGUSR2)
        until(lambda: str(proc.waits_in(run.pid)).endswith("nanosleep"), "the next image")
        os.kill(worker_of(run.pid), signal.SIGKILL)
        release()
    until_served(run, 2)
    assert client.ask("b") == "b 2"


def test_a_stop_while_it_is_replaced_is_not_lost(servers: Servers, installed: Installed) -> None:
    run = serve(servers, installed)
    client = servers.connect()
    with held_up(servers, installed) as release:
        os.kill(run.pid, signal.SIGUSR2)
        until(lambda: str(proc.waits_in(run.pid)).endswith("nanosleep"), "the next image")
        run.process.terminate()
        release()
    assert client.close_code() == 1001
    assert run.wait() == 0


def breaks(installed: Installed) -> None:
    installed.begin("raise ImportError('it is not whole')\n")


def speaks_otherwise(installed: Installed) -> None:
    file = installed.package / "process" / "start" / "workers.py"
    file.write_text(file.read_text().replace("PROTOCOL: Final = 1", "PROTOCOL: Final = 2"))


@pytest.mark.parametrize("change", [breaks])
def test_a_release_that_can_not_supervise_leaves_the_supervisor_as_it_is(
    servers: Servers, installed: Installed, change: Callable[[Installed], None]
) -> None:
    run = serve(servers, installed)
    client = servers.connect()
    assert client.ask("a") == "a 1"
    installed.replace()
    change(installed)
    reload(run)
    assert client.ask("b") == "b 2"
    assert version_of(run) == dorrit.__version__
    why = "its new release can't be loaded, or does not speak with the worker"
    assert f"the supervisor stays as it is: {why}" in run.err
    kill(run)
    assert client.ask("c") == "c 3"


def test_a_release_that_speaks_another_protocol_and_not_with_the_worker_is_not_reloaded(
    servers: Servers, installed: Installed
) -> None:
    run = serve(servers, installed)
    client = servers.connect()
    assert client.ask("a") == "a 1"
    installed.replace()
    speaks_otherwise(installed)
    worker = worker_of(run.pid)
    os.kill(run.pid, signal.SIGUSR2)
    until(lambda: " not reloaded: " in run.err, "the line")
    assert "the supervisor stays as it is" in run.err
    assert workers_of(run.pid) == [worker]
    assert client.ask("b") == "b 2"
    assert servers.connect().ask("new") == "new 1"
    assert "reloading" not in run.err
