"""The pid file of a server that root has started as a daemon (R24). These tests need root."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dorrit.errors import StartError
from dorrit.process.files.paths import pid_path
from dorrit.process.files.pidfile import PidFile
from tests.support.locks import holder


@pytest.fixture
def name() -> Iterator[str]:
    """A name that no server has."""
    made = f"dorrit-test-{os.getpid()}"
    yield made
    Path(pid_path(made)).unlink(missing_ok=True)


@pytest.mark.root
def test_R24_it_is_in_var_run_and_goes_at_the_end(name: str) -> None:
    path = Path(f"/var/run/{name}.pid")
    with PidFile(name) as file:
        assert file.path == str(path) == pid_path(name)
        file.write()
        assert path.read_text() == f"{os.getpid()}\n"
        assert (path.stat().st_uid, path.stat().st_mode) == (0, 0o100600)
        assert holder(path) == os.getpid()
    assert not path.exists()


def test_R24_a_second_server_of_the_name_is_refused_with_the_pid_of_the_first(
    directory: Path,
) -> None:
    with PidFile("chat", directory) as file, PidFile("other", directory):
        file.write()
        with pytest.raises(StartError) as caught:
            PidFile("chat", directory)
        assert str(caught.value) == (
            f"{directory}/chat.pid: a server named chat runs already, as process {os.getpid()}; "
            "stop it first"
        )
        assert Path(file.path).read_text() == f"{os.getpid()}\n"
    PidFile("chat", directory).close()


def test_R24_one_that_has_no_pid_yet_refuses_a_second_server_too(directory: Path) -> None:
    with (
        PidFile("chat", directory),
        pytest.raises(StartError, match=r"a server named chat is starting or stopping$"),
    ):
        PidFile("chat", directory)


def test_R24_a_stale_file_is_replaced(directory: Path) -> None:
    (directory / "chat.pid").write_text("1\n")
    with PidFile("chat", directory) as file:
        file.write()
        assert (directory / "chat.pid").read_text() == f"{os.getpid()}\n"


def test_R24_a_symbolic_link_is_not_followed(directory: Path) -> None:
    (directory / "chat.pid").symlink_to(directory / "target")
    with pytest.raises(StartError, match=r"it is a symbolic link; it was left as it is$"):
        PidFile("chat", directory)
    assert not (directory / "target").exists()


def test_R24_not_in_a_directory_that_others_can_write(directory: Path) -> None:
    directory.chmod(0o777)
    with pytest.raises(StartError, match="others can write and which has no sticky bit"):
        PidFile("chat", directory)
    assert not list(directory.iterdir())


def test_R22_the_daemon_has_the_lock_that_the_first_process_took(directory: Path) -> None:
    file = PidFile("chat", directory)
    reader, writer = os.pipe()
    daemon = os.fork()
    if daemon == 0:
        os.close(writer)
        file.write()
        os.read(reader, 1)  # its end: the first process lets it stop
        os._exit(0 if file.close() else 1)
    os.close(reader)
    while holder(file.path) != daemon:
        assert os.waitpid(daemon, os.WNOHANG) == (0, 0)
    os.close(file.lock.descriptor)  # as when the first process ends by _exit(2)
    assert holder(file.path) == daemon
    with pytest.raises(StartError, match=f"a server named chat runs already, as process {daemon};"):
        PidFile("chat", directory)
    os.close(writer)
    assert os.waitpid(daemon, 0)[1] == 0
    assert not Path(file.path).exists()


def test_R29_the_next_image_goes_on_with_it(directory: Path) -> None:
    file = PidFile("chat", directory)
    file.write()
    adopted = PidFile.adopt(file.lock.descriptor, "chat", directory)
    assert adopted.path == file.path
    assert Path(file.path).read_text() == f"{os.getpid()}\n"
    assert adopted.close()
    assert not Path(file.path).exists()
