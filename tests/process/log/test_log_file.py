"""The log as a file (O1)."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dorrit.errors import StartError
from dorrit.process.credentials.privileges import Identity
from dorrit.process.log.layout import text_lines
from dorrit.process.log.log_file import LogFile, make_file

NOBODY = 65534
IDENTITY = Identity(NOBODY, NOBODY, (NOBODY,), "nobody", None)


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("dorrit", logging.INFO, "", 0, text, (), None)


@pytest.fixture
def roots() -> Iterator[Path]:
    """A directory that nobody but root may change, on all of its way."""
    directory = Path("/run/dorrit-test-log")
    directory.mkdir(0o755)
    directory.chmod(0o755)
    yield directory
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()


@pytest.mark.parametrize("umask", [0, 0o077])
def test_its_group_may_read_it_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        os.close(make_file(f"{tmp_path}/log"))
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "log").stat().st_mode & 0o7777 == 0o640


def test_what_is_in_it_stays(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("before\n")
    log = LogFile(str(file), make_file(str(file)))
    log.write(record("after"), text_lines)
    first, second = file.read_text().splitlines()
    assert (first, second.split()[-1]) == ("before", "after")
    assert not os.get_inheritable(log.descriptor)
    os.close(log.descriptor)


def test_it_is_opened_anew_with_the_same_number(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = LogFile(str(file), make_file(str(file)))
    number = log.descriptor
    log.write(record("one"), text_lines)
    renamed = file.rename(tmp_path / "log.1")
    log.write(record("two"), text_lines)
    log.reopen()
    log.write(record("three"), text_lines)
    assert renamed.read_text().count("\n") == 2
    assert file.read_text().endswith("three\n")
    assert log.descriptor == number
    assert not os.get_inheritable(number)
    os.close(number)


def test_what_cannot_be_opened_anew_is_used_on(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = LogFile(str(file), make_file(str(file)))
    renamed = file.rename(tmp_path / "log.1")
    file.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        log.reopen()
    log.write(record("still"), text_lines)
    assert renamed.read_text().endswith("still\n")
    os.close(log.descriptor)


def test_a_number_that_has_become_something_else_is_not_written_to(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = LogFile(str(file), make_file(str(file)))
    reader, writer = os.pipe()
    os.dup2(writer, log.descriptor)
    log.write(record("secret"), text_lines)
    assert log.lost == 1
    os.close(writer)
    stolen = log.descriptor
    log.reopen()
    log.write(record("back"), text_lines)
    assert log.descriptor != stolen
    assert file.read_text().endswith("back\n")
    os.close(stolen)
    assert os.read(reader, 10) == b""
    os.close(reader)
    os.close(log.descriptor)


# Root makes it for somebody else.


@pytest.mark.root
def test_root_makes_it_for_the_servers_user(roots: Path) -> None:
    file = roots / "log"
    os.close(make_file(str(file), IDENTITY))
    assert (file.stat().st_uid, file.stat().st_gid) == (NOBODY, NOBODY)
    os.close(make_file(str(file), IDENTITY))


@pytest.mark.root
def test_the_server_may_have_a_directory_of_its_own(roots: Path) -> None:
    os.chown(roots, NOBODY, NOBODY)
    os.close(make_file(f"{roots}/log", IDENTITY))
    assert (roots / "log").stat().st_uid == NOBODY
    assert os.geteuid() == 0
    assert os.getegid() == 0


@pytest.mark.root
def test_root_writes_no_file_that_the_servers_user_may_not_write(roots: Path) -> None:
    file = roots / "log"
    file.write_text("root's")
    file.chmod(0o640)
    with pytest.raises(StartError, match=r"can't be opened: nobody may not write it$"):
        make_file(str(file), IDENTITY)
    assert file.read_text() == "root's"


@pytest.mark.root
def test_root_makes_no_file_where_somebody_else_chooses_the_place(roots: Path) -> None:
    link = roots / "link"
    link.symlink_to("/etc")
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(StartError, match=f"only where nobody else may change {link}$"):
        make_file(f"{link}/dorrit-test.log", IDENTITY)
    assert not Path("/etc/dorrit-test.log").exists()


@pytest.mark.root
@pytest.mark.parametrize("identity", [None, IDENTITY])
def test_what_has_two_names_may_be_somebody_elses(roots: Path, identity: Identity | None) -> None:
    (roots / "link").symlink_to(roots / "target")
    with pytest.raises(StartError, match=r"it is a symbolic link$"):
        make_file(f"{roots}/link", identity)
    with pytest.raises(StartError, match=r"No such file or directory$"):
        make_file(f"{roots}/no/log", identity)
