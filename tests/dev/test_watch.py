"""Which files belong to a server."""

import errno
import sys
from pathlib import Path

import pytest
import watchfiles

from dorrit.dev.watch import Watcher, is_source, source_directories


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "package" / "inner").mkdir(parents=True)
    (tmp_path / "package" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "package" / "inner" / "server.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "namespace" / "inner").mkdir(parents=True)
    (tmp_path / "chat.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    return tmp_path.resolve()


@pytest.mark.parametrize("server", ["chat.py", "./chat.py", "chat.py:app", "chat", "chat:app"])
def test_a_file_is_watched_with_its_directory(project: Path, server: str) -> None:
    assert source_directories(server) == {project}


@pytest.mark.parametrize("server", ["package.inner.server", "package", "package.inner.server:app"])
def test_a_module_is_watched_with_its_package_and_is_not_imported(
    project: Path, server: str
) -> None:
    assert source_directories(server) == {project / "package"}
    assert "package" not in sys.modules


def test_a_package_without_init_is_found(project: Path) -> None:
    assert source_directories("namespace.inner") == {project / "namespace"}


@pytest.mark.parametrize("server", ["missing", "missing.server", "sys"])
def test_a_module_without_a_file_is_taken_to_be_in_the_working_directory(
    project: Path, server: str
) -> None:
    assert source_directories(server) == {project}


def test_a_link_is_watched_with_its_target(project: Path) -> None:
    (project / "live").mkdir()
    (project / "live" / "chat.py").symlink_to(project / "chat.py")
    assert source_directories("live/chat.py") == {project, project / "live"}


@pytest.mark.parametrize("name", ["chat.py", "sub/handlers.py", "a/b/c.py"])
def test_python_files_below_the_directory_are_source(name: str) -> None:
    assert is_source(f"/home/user/.hidden/project/{name}", [Path("/home/user/.hidden/project")])


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "chat.pyc",
        "chat.py~",
        ".#chat.py",
        ".venv/lib/x.py",
        ".git/x.py",
        "__pycache__/x.py",
        "node_modules/x/y.py",
        "venv/lib/python3.11/site-packages/x.py",
    ],
)
def test_other_files_are_not(name: str) -> None:
    assert not is_source(f"/home/user/project/{name}", [Path("/home/user/project")])


def test_files_elsewhere_are_not() -> None:
    assert not is_source("/home/user/other/chat.py", [Path("/home/user/project")])


def test_without_watches_that_is_said_and_nothing_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", refuse)
    said: list[str] = []
    watcher = Watcher([tmp_path], None, on_change=said.append, say=said.append)
    watcher.start()
    for thread in watcher._threads:
        thread.join(20)
    assert not watcher.is_watching()
    assert said == ["no restart on changes: [Errno 28] OS file watch limit reached"]
