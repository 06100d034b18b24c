"""Directories in which the server may make its socket and its files (R24, R25)."""

from pathlib import Path

import pytest

from dorrit.errors import StartError
from dorrit.process.files.directories import check_directory


def make(place: Path, mode: int) -> Path:
    place.mkdir()
    place.chmod(mode)
    return place


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775, 0o1777, 0o3777])
def test_R25_directories_that_are_fit_for_it(directory: Path, mode: int) -> None:
    check_directory(make(directory / "fit", mode))


def test_R25_usual_places_are_fit_for_it() -> None:
    check_directory("/var/run")  # a symbolic link, on many systems
    check_directory("/tmp")
    check_directory("/")


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o702])
def test_R25_others_can_write_and_there_is_no_sticky_bit(directory: Path, mode: int) -> None:
    unfit = make(directory / "unfit", mode)
    with pytest.raises(StartError) as caught:
        check_directory(unfit)
    assert str(caught.value) == (
        f"{unfit}: anybody can replace files in {unfit}, which others can write and which has no "
        f"sticky bit: choose another directory, or chmod o-w {unfit}"
    )


def test_R25_the_directories_on_the_way_count_too(directory: Path) -> None:
    unfit = make(directory / "unfit", 0o777)
    inner = make(unfit / "inner", 0o755)
    with pytest.raises(StartError, match=f"{inner}: anybody can replace files in {unfit}, "):
        check_directory(inner)


def test_R25_the_way_of_a_symbolic_link_counts_too(directory: Path) -> None:
    fit, unfit = make(directory / "fit", 0o755), make(directory / "unfit", 0o777)
    (unfit / "link").symlink_to(fit)
    (directory / "first").symlink_to("unfit/../unfit/link")
    check_directory(fit)
    for path in (unfit / "link", directory / "first", directory / "first/.."):
        with pytest.raises(StartError, match=f"anybody can replace files in {unfit}, "):
            check_directory(path)


def test_R25_links_between_fit_directories_are_followed(directory: Path) -> None:
    make(directory / "fit", 0o755)
    make(directory / "fit/inner", 0o755)
    (directory / "absolute").symlink_to(directory / "fit/inner")
    (directory / "relative").symlink_to("absolute/../../fit/./inner")
    check_directory(directory / "relative")


def test_R25_what_is_no_directory_is_one_line(directory: Path) -> None:
    (directory / "file").touch()
    (directory / "loop").symlink_to("loop")
    for name, reason in (
        ("file", f"{directory}/file is not a directory"),
        ("none", "No such file or directory: it must be a directory"),
        ("none/inner", "No such file or directory: it must be a directory"),
        ("loop", "too many symbolic links: it must be a directory"),
    ):
        with pytest.raises(StartError) as caught:
            check_directory(directory / name)
        assert str(caught.value) == f"{directory / name}: {reason}"
