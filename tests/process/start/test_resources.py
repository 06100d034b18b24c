"""What a server holds in the file system (R24, R25, R27, R29). These tests need root."""

import os
import socket
import stat
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dorrit.errors import StartError
from dorrit.process.credentials.privileges import Identity
from dorrit.process.exec.command import Command
from dorrit.process.files.lock import Lock
from dorrit.process.start.resources import (
    JANITOR,
    SOCKET_LOCK,
    STATUS_SOCKET,
    ResourcePlan,
    Resources,
)
from tests.support.children import NOBODY, run_python
from tests.support.servers import until

RUN = Path("/var/run")

AS_NOBODY = Identity(uid=NOBODY, gid=NOBODY, groups=(NOBODY,), user="nobody", home=None)

FOREGROUND = {"socket", "socket.lock", "socket.status"}
"""What stands in the socket's directory."""


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "socket"


@pytest.fixture
def name() -> Iterator[str]:
    """A name that no other server has; none of its files is left in /var/run."""
    made = f"test-{os.getpid()}-resources"
    yield made
    left = files_of(made)
    for file in left:
        with suppress(FileNotFoundError):
            (RUN / file).unlink()
    assert left == set()


def files_of(name: str) -> set[str]:
    return {file.name for file in RUN.glob(f"{name}*")} | {
        file.name for file in RUN.glob(f".{name}*")
    }


def files_in(directory: Path) -> set[str]:
    return {file.name for file in directory.iterdir()}


def plan(
    path: Path, *, name: str | None = None, daemon: bool = False, given: int | None = None
) -> ResourcePlan:
    return ResourcePlan(
        name=name,
        listen=str(path),
        given=given,
        identity=AS_NOBODY,
        command=Command.current() if daemon else None,
    )


def described(file: Path) -> tuple[int, int, str]:
    status = file.lstat()
    return status.st_uid, status.st_gid, stat.filemode(status.st_mode)


# Made, and removed


@pytest.mark.root
@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_R25_in_the_foreground_it_has_two_sockets_and_a_lock(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with Resources(plan(path, name="chat")) as resources:
            assert (resources.name, resources.pid_file, resources.record) == ("chat", None, None)
            assert files_in(path.parent) == FOREGROUND
            assert described(path) == (NOBODY, NOBODY, "srwxrwx---")
            assert described(Path(f"{path}.status")) == (NOBODY, NOBODY, "srw-------")
            assert described(Path(f"{path}.lock")) == (0, 0, "-rw-------")
    finally:
        os.umask(before)
    assert files_in(path.parent) == set()


@pytest.mark.root
@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_R24_a_daemon_of_roots_has_a_pid_file_and_a_record_besides(
    path: Path, name: str, umask: int
) -> None:
    before = os.umask(umask)
    try:
        with Resources(plan(path, name=name, daemon=True)) as resources:
            resources.own()
            assert files_in(path.parent) == FOREGROUND
            assert files_of(name) == {f"{name}.pid", f"{name}.command"}
            for file in files_of(name):
                assert described(RUN / file) == (0, 0, "-rw-------")
            assert (RUN / f"{name}.pid").read_text() == f"{os.getpid()}\n"
    finally:
        os.umask(before)
    assert files_in(path.parent) == files_of(name) == set()


@pytest.mark.root
def test_R24_a_daemon_of_nobodys_has_its_record_beside_the_socket(directory: Path) -> None:
    os.chown(directory, NOBODY, NOBODY)
    told = run_python(
        """
        from dorrit.process.exec.command import Command
        from dorrit.process.start.resources import Resources, ResourcePlan
        from dorrit.process.credentials.privileges import resolve

        directory = sys.argv[1]
        become_nobody()
        plan = ResourcePlan(
            name="chat",
            listen=directory + "/chat.socket",
            given=None,
            identity=resolve(None, None),
            command=Command.current(),
        )
        with Resources(plan) as resources:
            print(resources.pid_file, *sorted(os.listdir(directory)))
        print(*os.listdir(directory))
        """,
        directory,
    )
    assert told.splitlines() == ["None chat.command chat.socket chat.socket.lock chat.status", ""]


@pytest.mark.parametrize(
    ("name", "socket_path"),
    [(None, "/var/run/dorrit.socket"), ("chat", "/var/run/chat.socket")],
)
def test_R25_without_a_path_the_socket_has_the_name_of_the_server(
    name: str | None, socket_path: str
) -> None:
    made = ResourcePlan(name=name, listen=None, given=None, identity=AS_NOBODY, command=None)
    assert made.path == socket_path


@pytest.mark.root
def test_R13_without_a_name_it_is_server(path: Path) -> None:
    with Resources(plan(path)) as resources:
        assert resources.name == "server"


# A socket that was handed over


@pytest.mark.root
def test_R25_the_socket_of_a_service_manager_stays_and_the_status_socket_goes(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as manager, socket.socket(socket.AF_UNIX) as client:
        manager.bind(str(path))
        manager.listen()
        before = described(path)
        with Resources(plan(path, given=os.dup(manager.fileno()))) as resources:
            assert resources.listener.lock is None
            assert files_in(path.parent) == {"socket", "socket.status"}
            assert described(path) == before
        assert files_in(path.parent) == {"socket"}
        client.connect(str(path))


def test_R31_another_path_than_the_managers_is_a_usage_error(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as manager:
        manager.bind(str(path))
        manager.listen()
        with pytest.raises(StartError, match=f"the service manager hands over.*{path};") as raised:
            Resources(plan(path.with_name("other"), given=manager.fileno()))
        assert raised.value.status == 2
        assert files_in(path.parent) == {"socket"}


# What stands in the way


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.mark.root
@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_R25_if_the_status_socket_cannot_be_made_nothing_is_left(path: Path, kind: str) -> None:
    place = Path(f"{path}.status")
    if kind == "file":
        place.write_text("precious")
    elif kind == "link":
        place.symlink_to("nowhere")
    else:
        place.mkdir()
    before = descriptors(), place.lstat()
    with pytest.raises(StartError, match="not a socket; it was left as it is"):
        Resources(plan(path))
    assert files_in(path.parent) == {"socket.status"}
    assert (descriptors(), place.lstat()) == before


@pytest.mark.root
def test_R24_a_file_in_the_place_of_the_record_is_left_as_it_is(path: Path, name: str) -> None:
    precious = RUN / f"{name}.command"
    precious.write_text("precious")
    before = descriptors()
    try:
        with pytest.raises(StartError, match="there is a file that no server has left; it was"):
            Resources(plan(path, name=name, daemon=True))
        assert precious.read_text() == "precious"
        assert files_of(name) == {precious.name}
    finally:
        precious.unlink()
    assert files_in(path.parent) == set()
    assert descriptors() == before


@pytest.mark.root
def test_R24_a_file_in_its_place_beside_the_socket_is_left_as_it_is_too(directory: Path) -> None:
    os.chown(directory, NOBODY, NOBODY)
    precious = directory / "chat.command"
    precious.write_text("rm -rf precious")
    precious.chmod(0o644)
    told = run_python(
        """
        from dorrit.process.exec.command import Command
        from dorrit.process.start.resources import Resources, ResourcePlan
        from dorrit.process.credentials.privileges import resolve

        become_nobody()
        path = sys.argv[1] + "/chat.socket"
        plan = ResourcePlan(
            name=None, listen=path, given=None, identity=resolve(None, None),
            command=Command.current(),
        )
        try:
            Resources(plan)
        except StartError as error:
            print(error)
        """,
        directory,
    )
    assert told == f"{precious}: there is a file that no server has left; it was left as it is\n"
    assert files_in(directory) == {"chat.command"}
    assert precious.read_text() == "rm -rf precious"


@pytest.mark.root
def test_R24_if_the_name_is_taken_nothing_is_made(path: Path, name: str) -> None:
    with Lock(RUN / f"{name}.pid") as lock:
        lock.write()
        with pytest.raises(StartError, match=f"{name} runs already, as process {os.getpid()};"):
            Resources(plan(path, name=name, daemon=True))
        assert files_in(path.parent) == set()
        assert files_of(name) == {f"{name}.pid"}


@pytest.mark.root
def test_R25_if_the_socket_is_taken_the_name_is_free_again(path: Path, name: str) -> None:
    with Resources(plan(path)):
        with pytest.raises(StartError, match="another server"):
            Resources(plan(path, name=name, daemon=True))
        assert files_in(path.parent) == FOREGROUND
        assert files_of(name) == set()


# Whose they are


BEGINNING = """
import json
from dataclasses import asdict
from dorrit.process.exec.command import Command
from dorrit.process.exec.handover import Handover
from dorrit.process.start.resources import Resources, ResourcePlan
from dorrit.process.credentials.privileges import resolve

directory, name = sys.argv[1:3]
path = directory + "/socket"

def make():
    return Resources(ResourcePlan(
        name=name, listen=path, given=None, identity=resolve(None, None),
        command=Command.current(),
    ))

def show(*words):
    found = [n for n in os.listdir("/var/run") if name in n] + os.listdir(directory)
    print(*words, *sorted(n.replace(name, "NAME") for n in found), flush=True)

"""

ALL = "NAME.command NAME.pid socket socket.lock socket.status"


def run(code: str, directory: Path, name: str) -> list[str]:
    return run_python(BEGINNING + textwrap.dedent(code), directory, name).splitlines()


@pytest.mark.root
def test_R22_they_are_the_daemons_once_it_has_taken_them(directory: Path, name: str) -> None:
    told = run(
        """
        resources = make()
        if os.fork() == 0:
            resources.close()
            os._exit(0)
        os.wait()
        show()
        if os.fork() == 0:
            resources.own()
            for file in "/var/run/" + name + ".pid", path + ".lock":
                print(open(file).read() == f"{os.getpid()}\\n")
            if os.fork() == 0:
                resources.close()
                os._exit(0)
            os.wait()
            show("still")
            resources.close()
            os._exit(0)
        os.wait()
        show("gone")
        """,
        directory,
        name,
    )
    assert told == [ALL, "True", "True", f"still {ALL}", "gone"]


@pytest.mark.root
def test_R27_without_privileges_the_janitor_removes_them(directory: Path, name: str) -> None:
    told = run(
        """
        resources = make()
        resources.own()
        resources.start_janitor()
        become_nobody()
        show()
        resources.close()
        show("gone")
        """,
        directory,
        name,
    )
    assert told == [ALL, "gone"]


@pytest.mark.root
def test_R27_and_if_the_server_is_killed(directory: Path, name: str) -> None:
    told = run(
        """
        if os.fork() == 0:
            resources = make()
            resources.own()
            resources.start_janitor()
            become_nobody()
            show()
            os.kill(os.getpid(), signal.SIGKILL)
        os.wait()
        """,
        directory,
        name,
    )
    assert told == [ALL]
    left = {f"{name}.command"}  # for a restart
    until(lambda: not files_in(directory) and files_of(name) == left, "the janitor")
    Path("/var/run", f"{name}.command").unlink()


NEXT = """
handover = Handover(**json.loads(sys.argv[3]))
resources = Resources.adopt(handover, daemon=True)
show(handover.name == name, resources.name == name)
print(*sorted({os.get_inheritable(number) for number in handover.descriptors}))
try:
    make()
except StartError as error:
    print(error)
"""

END = """
resources.listener.listen()
print(resources.listener._socket.accept()[0].recv(10))
resources.close()
show("gone")
"""


DROP = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})"


@pytest.mark.root
@pytest.mark.parametrize(("start", "drop"), [("", ""), ("resources.start_janitor()", DROP)])
def test_R29_the_next_image_goes_on_with_them(
    directory: Path, name: str, start: str, drop: str
) -> None:
    # The interpreter may be where nobody can look: so the user is changed after execv.
    told = run_python(
        BEGINNING
        + textwrap.dedent(
            f"""
            import socket
            resources = make()
            resources.own()
            {start}
            resources.listener.listen()
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            client.send(b"waits")
            handover = resources.handover()
            for number in (*handover.descriptors, client.fileno()):
                os.set_inheritable(number, True)
            plain = {{n: of for n, of in asdict(handover).items() if n != "untouched"}}
            content = json.dumps({{n: of for n, of in plain.items() if "reload" not in n}})
            sys.stdout.flush()
            os.execv(sys.executable, [sys.executable, "-c", sys.argv[3], *sys.argv[1:3], content])
            """
        ),
        directory,
        name,
        "import os, sys\nfrom dorrit.errors import StartError\n" + BEGINNING + NEXT + drop + END,
    ).splitlines()
    assert told[0] == f"True True {ALL}"
    assert told[1] == "False"
    assert f"a server named {name} runs already, as process " in told[2]
    assert told[3:] == ["b'waits'", "gone"]


def test_R29_a_handover_without_the_status_socket_is_an_error(directory: Path) -> None:
    told = run_python(
        BEGINNING
        + """
from dataclasses import replace
resources = Resources(ResourcePlan(
    name=name, listen=path, given=None, identity=resolve(None, None), command=None
))
try:
    Resources.adopt(replace(resources.handover(), kept={}), daemon=False)
except StartError as error:
    print(error, flush=True)
os._exit(0)  # its descriptors have two owners
""",
        directory,
        "chat",
    )
    assert told == f"{directory}/socket: the status socket was not handed over\n"


@pytest.mark.root
def test_R27_the_janitor_of_a_server_in_the_foreground_removes_its_sockets(path: Path) -> None:
    with Resources(plan(path)) as resources:
        resources.own()
        resources.start_janitor()
        assert resources.handover().kept.keys() == {STATUS_SOCKET, SOCKET_LOCK, JANITOR}
        assert files_in(path.parent) == FOREGROUND
    assert files_in(path.parent) == set()


@pytest.mark.root
def test_R27_the_janitor_of_a_handed_over_socket_leaves_that(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as manager:
        manager.bind(str(path))
        manager.listen()
        with Resources(plan(path, given=os.dup(manager.fileno()))) as resources:
            resources.start_janitor()
            assert resources.handover().kept.keys() == {STATUS_SOCKET, JANITOR}
            assert not resources.handover().daemon
        assert files_in(path.parent) == {"socket"}


def test_R29_the_next_image_in_the_foreground_goes_on(directory: Path) -> None:
    told = run_python(
        BEGINNING
        + """
first = Resources(ResourcePlan(
    name=name, listen=path, given=None, identity=resolve(None, None), command=None
))
second = Resources.adopt(first.handover(), daemon=False)
print(second.record, second.janitor, second.pid_file, sorted(os.listdir(directory)))
second.close()
print(os.listdir(directory), flush=True)
os._exit(0)  # its descriptors had two owners
""",
        directory,
        "chat",
    )
    assert told.splitlines() == [
        "None None None ['socket', 'socket.lock', 'socket.status']",
        "[]",
    ]
