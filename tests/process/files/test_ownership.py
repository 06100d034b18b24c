"""Giving a socket away (R25)."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dorrit.errors import StartError
from dorrit.process.files.ownership import change_owner
from tests.support.children import NOBODY


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "socket"


@pytest.fixture
def bound(path: Path) -> Iterator[Path]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        path.chmod(0o770)
        yield path


@pytest.fixture(params=["by descriptor", "by path"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by path":  # as on a system without O_PATH
        monkeypatch.delattr(os, "O_PATH")


def owner_of(path: Path) -> tuple[int, int]:
    return path.lstat().st_uid, path.lstat().st_gid


@pytest.mark.root
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("wanted", [(NOBODY, 12345), (NOBODY, -1), (-1, 12345), (-1, -1)])
def test_R25_the_owner_changes_and_the_mode_does_not(bound: Path, wanted: tuple[int, int]) -> None:
    change_owner(str(bound), *wanted)
    before = os.geteuid(), os.getegid()
    assert owner_of(bound) == tuple(
        b if w == -1 else w for w, b in zip(wanted, before, strict=True)
    )
    assert stat.filemode(bound.lstat().st_mode) == "srwxrwx---"


def hard_link(path: Path) -> None:
    path.with_name("shadow").write_text("root's")
    path.hardlink_to(path.with_name("shadow"))


def hard_link_of_a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path.with_name("shadow")))
    path.hardlink_to(path.with_name("shadow"))


def symbolic_link(path: Path) -> None:
    path.with_name("shadow").write_text("root's")
    path.symlink_to("shadow")


def symbolic_link_to_a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path.with_name("shadow")))
    path.symlink_to("shadow")


def socket_of_another(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
    os.chown(path, 1, 1)


PLACES = [
    hard_link,
    hard_link_of_a_socket,
    symbolic_link,
    symbolic_link_to_a_socket,
    socket_of_another,
]


@pytest.mark.root
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("put", PLACES)
def test_R25_what_was_put_in_its_place_is_not_given_away(
    path: Path, put: Callable[[Path], None]
) -> None:
    put(path)
    before = {file: owner_of(file) for file in path.parent.iterdir()}
    with pytest.raises(StartError, match="something else in the place of the socket"):
        change_owner(str(path), NOBODY, NOBODY)
    assert {file: owner_of(file) for file in path.parent.iterdir()} == before


@pytest.mark.root
def test_R25_without_a_sure_way_it_is_not_done_where_others_can_write(
    bound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_PATH")
    os.chown(bound.parent, NOBODY, NOBODY)
    with pytest.raises(StartError, match="root can give a socket away safely only in a directory"):
        change_owner(str(bound), NOBODY, NOBODY)
    assert owner_of(bound) == (0, 0)
    change_owner(str(bound), 0, 0)  # that is no change


@pytest.mark.root
@pytest.mark.parametrize("put", PLACES)
def test_R25_in_the_users_own_directory_nothing_else_is_given_away(
    path: Path, put: Callable[[Path], None]
) -> None:
    put(path)
    os.chown(path.parent, NOBODY, NOBODY)
    before = {file: owner_of(file) for file in path.parent.iterdir()}
    with pytest.raises(StartError, match="something else in the place of the socket"):
        change_owner(str(path), NOBODY, NOBODY)
    assert {file: owner_of(file) for file in path.parent.iterdir()} == before


@pytest.mark.root
def test_R25_in_the_users_own_directory_it_is_given_away_by_its_descriptor(bound: Path) -> None:
    os.chown(bound.parent, NOBODY, NOBODY)
    change_owner(str(bound), NOBODY, NOBODY)
    assert owner_of(bound) == (NOBODY, NOBODY)


def test_R25_one_that_is_gone_is_an_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        change_owner(str(path), NOBODY, NOBODY)
