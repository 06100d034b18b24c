"""Directories in which the server may make its socket and its files."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dorrit.errors import StartError

MAX_LINKS: Final = 40
"""Symbolic links on one path, as many as Linux follows (path_resolution(7))."""


def check_directory(directory: str | os.PathLike[str]) -> None:
    """Refuse a directory in which anybody could take a file's place.

    That is one that others can write and that has no sticky bit: there, whoever likes can rename
    and remove what is the server's. The same goes for each directory on the way to it, and on the
    way of each symbolic link in its path: who can replace one of those chooses another directory.
    That a group can write is the administrator's wish, and allowed.

    Args:
        directory: Absolute.

    Raises:
        StartError: It is such a directory, or none, or can't be reached.
    """
    try:
        for place in _ways(Path(directory)):
            mode = place.stat().st_mode
            if not stat.S_ISDIR(mode):
                raise StartError(f"{directory}: {place} is not a directory")
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                raise StartError(
                    f"{directory}: anybody can replace files in {place}, which others can write "
                    f"and which has no sticky bit: choose another directory, or chmod o-w {place}"
                )
    except OSError as error:
        raise StartError(f"{directory}: {error.strerror}: it must be a directory") from None


def _ways(path: Path) -> Iterator[Path]:
    """Return each directory in which a name is looked up on the way to a path, and the path.

    None of them has a symbolic link or ``..`` in it.

    Raises:
        OSError: There are too many symbolic links.
    """
    place = Path("/")
    names = list(reversed(path.parts[1:]))
    links = 0
    while names:
        yield place
        name = names.pop()
        if name == "..":
            place = place.parent
            continue
        entry = place / name
        if not entry.is_symlink():
            place = entry
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(0, "too many symbolic links")
        target = Path(os.readlink(entry))  # noqa: PTH115 - a str, with its .. as they are
        if target.is_absolute():
            place = Path("/")
        names.extend(reversed(target.parts[target.is_absolute() :]))
    yield place
