"""Which files belong to a server, and when they change."""

import importlib.machinery
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

IGNORED_DIRECTORIES = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Directories whose Python files are not the server's source; so is any hidden one (``.venv``)."""

DEBOUNCE = 400
"""Milliseconds for which changes are gathered before they are reported as one."""


def _module_directory(name: str) -> Path:
    """Return the directory of a module's top-level package without importing anything."""
    top_level = name.partition(".")[0]
    found = importlib.machinery.PathFinder.find_spec(top_level, [str(Path.cwd()), *sys.path])
    if found is not None and found.origin is not None and Path(found.origin).is_file():
        return Path(found.origin).parent
    if found is not None and found.submodule_search_locations:
        return Path(next(iter(found.submodule_search_locations)))
    return Path.cwd()


def source_directories(server: str) -> set[Path]:
    """Return the directories whose Python files make up a server.

    Args:
        server: A file, a module, or either with ``:object`` behind it.

    Returns:
        The directory of the file, or of the module's top-level package. Two directories for a file
        that is a symbolic link: the link's and the target's.
    """
    target = server if server.endswith(".py") else server.partition(":")[0]
    path = Path(target)
    if target.endswith(".py") or "/" in target:
        return {path.absolute().parent, path.resolve().parent}
    return {_module_directory(target).resolve()}


def is_source(path: str, directories: Iterable[Path]) -> bool:
    """Tell whether a file is a Python file of one of the directories, and no ignored one."""
    if not path.endswith(".py"):
        return False
    for directory in directories:
        if Path(path).is_relative_to(directory):
            parts = Path(path).relative_to(directory).parts
            # A hidden .py file is a lock or a swap file of an editor.
            return not any(part in IGNORED_DIRECTORIES or part.startswith(".") for part in parts)
    return False


class Watcher:
    """Reports changes of a server's Python files and of its configuration file.

    Watches with the package ``watchfiles``; without it, says so and does nothing.
    """

    def __init__(
        self,
        directories: Iterable[Path],
        config_file: Path | None,
        *,
        on_change: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        """Remember what to watch; ``start`` begins.

        Args:
            directories: Watched with everything below them.
            config_file: Watched as well, if there is one.
            on_change: Called in a thread of the watcher with the name of a changed file.
            say: Takes a line for the user.
        """
        self._directories = frozenset(directories)
        self._config_file = config_file.absolute() if config_file is not None else None
        self._on_change = on_change
        self._say = say
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failed = False

    def is_watching(self) -> bool:
        """Tell whether changes are being reported."""
        return bool(self._threads) and not self._failed

    def start(self) -> None:
        """Begin to watch, if ``watchfiles`` is installed."""
        try:
            from watchfiles import watch
        except ImportError:
            self._say("no restart on changes without watchfiles: pip install 'dorrit[dev]'")
            return
        self._begin(
            lambda: watch(
                *self._directories,
                watch_filter=self._is_source,
                debounce=DEBOUNCE,
                stop_event=self._stop,
                raise_interrupt=False,
                ignore_permission_denied=True,
            )
        )
        if self._config_file is not None:
            # The directory and not the file: most editors replace a file by a new one.
            directory = self._config_file.parent
            self._begin(
                lambda: watch(
                    directory,
                    watch_filter=self._is_config_file,
                    debounce=DEBOUNCE,
                    stop_event=self._stop,
                    raise_interrupt=False,
                    recursive=False,
                )
            )

    def stop(self) -> None:
        """Stop to watch; return when no change will be reported any more."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End."""
        self.stop()

    def _is_source(self, _change: object, path: str) -> bool:
        return is_source(path, self._directories)

    def _is_config_file(self, _change: object, path: str) -> bool:
        return Path(path) == self._config_file

    def _begin(self, watch: Callable[[], Iterable[Iterable[tuple[object, str]]]]) -> None:
        thread = threading.Thread(target=self._follow, args=(watch,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _follow(self, watch: Callable[[], Iterable[Iterable[tuple[object, str]]]]) -> None:
        try:
            for changes in watch():
                self._on_change(Path(min(path for _change, path in changes)).name)
        except OSError as error:
            # The system's limit of watches, for one; or the directory does not exist.
            self._failed = True
            self._say(f"no restart on changes: {error}")
