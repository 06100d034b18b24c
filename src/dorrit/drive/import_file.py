"""Loads the module that a server is written in, and says in one line what is wrong with it."""

import contextlib
import importlib
import importlib.util
import inspect
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Final

from dorrit.errors import StartError, reason_of
from dorrit.raised import EXITS, attempt, exc_info, summary_of

NO_PYTHON_FILE: Final = (
    "this is not a Python file: a server is a file whose name ends with .py, or the dotted name of "
    "a module"
)

_loading: Final = threading.Event()
"""Is set while a server is loaded: one process loads one."""


def frame_of_caller() -> FrameType:
    """Return the frame of what has called the function that calls this."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    assert frame.f_back.f_back is not None
    return frame.f_back.f_back


def is_imported(caller: FrameType) -> bool:
    """Tell whether a file is not the program, so that what runs a server at its end does nothing.

    ``dorrit serve`` loads it; or a process of multiprocessing needs a function that is in it, and
    has no copy of the server's memory (the methods spawn and forkserver).

    Args:
        caller: Who would run the server.
    """
    process = sys.modules.get("multiprocessing.process")
    is_child = process is not None and (
        process.parent_process() is not None
        # As multiprocessing finds out itself that a module is being imported for a child.
        or getattr(process.current_process(), "_inheriting", False)
    )
    at_the_end = caller.f_code.co_name == "<module>"
    return _loading.is_set() or (
        is_child and at_the_end and caller.f_globals.get("__name__") != "__main__"
    )


@contextlib.contextmanager
def _mark_loading() -> Iterator[None]:
    _loading.set()
    try:
        yield
    finally:
        _loading.clear()


def import_module(server: str) -> ModuleType:
    """Import a Python file, or a module by its dotted name.

    The file's folder, or the working directory for a module, becomes the first place where imports
    are looked for, as ``python FILE`` and ``python -m MODULE`` do it.

    Raises:
        StartError: There is no such file or module, or it can't be loaded. What its own code raised
            has been printed with its traceback.
    """
    path = Path(server)
    is_file = server.endswith(".py") or "/" in server
    sys.path.insert(0, _directory_of(server, path if is_file else None))
    try:
        with _mark_loading():
            return _import_file(path) if is_file else importlib.import_module(server)
    except SyntaxError as error:
        where = f"{error.filename or server}: line {error.lineno}" if error.lineno else server
        raise StartError(f"{where}: {error.msg}") from None
    except ModuleNotFoundError as error:
        # Its own absence, not that of something it imports.
        if not is_file and error.name and (server + ".").startswith(error.name + "."):
            why = f"{server}: there is no such module, nor such a file"
            raise _refusal(server, why) from None
        _explain(error)
        raise StartError(f"{server} can't be loaded: {error}") from None
    except StartError:
        raise
    except EXITS:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever the server's own code raises
        _explain(error)
        raise StartError(f"{server} can't be loaded: {_summary(error)}") from None


def _directory_of(server: str, path: Path | None) -> str:
    """Return where imports are looked for first: beside the file, or here for a module.

    Raises:
        StartError: There is no such file, or it is not the name of a module.
    """
    if path is None and not all(part.isidentifier() for part in server.split(".")):
        why = f"{server!r} is neither a file that ends with .py nor a module's name"
        raise _refusal(server, why)
    try:
        if path is not None and not path.is_file():
            why = "it is a directory" if path.is_dir() else "there is no such file"
            raise StartError(f"{server}: {why}")
    except OSError as error:
        raise StartError(reason_of(error)) from None
    try:
        return str(Path.cwd() if path is None else path.resolve().parent)
    except OSError as error:
        # POSIX, getcwd(): EACCES, or ENOENT if the directory has been removed.
        raise StartError(
            f"{server}: can't be looked for in the working directory: {error.strerror}; go to "
            "another one, or give the absolute path of a file"
        ) from None


def _refusal(server: str, reason: str) -> StartError:
    """Return why this can't be loaded: the reason, unless it is a file of another kind."""
    try:
        is_file = Path(server).is_file()
    except ValueError:  # a name that no file can have
        is_file = False
    return StartError(f"{server}: {NO_PYTHON_FILE}" if is_file else reason)


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise StartError(f"{path}: {NO_PYTHON_FILE}")
    module = importlib.util.module_from_spec(spec)
    # Before it runs, as `import` does it: dataclasses and pickle look for it there. A module of the
    # library that has the same name keeps its place.
    sys.modules.setdefault(spec.name, module)
    spec.loader.exec_module(module)
    return module


def _explain(error: BaseException) -> None:
    """Print the traceback of the server's own code; there is none if it can't even be read."""
    frames = traceback.extract_tb(exc_info(error)[2])
    own = [
        frame
        for frame in frames
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    if not own:
        return
    sys.stderr.write("Traceback (most recent call last):\n")
    sys.stderr.write("".join(traceback.format_list(own)))
    sys.stderr.write("".join(_last_lines(error)))


def _summary(error: BaseException) -> str:
    return _last_lines(error)[-1].strip().replace("\n", " ")


def _last_lines(error: BaseException) -> list[str]:
    return attempt(
        lambda: traceback.format_exception_only(error), lambda _: [f"{summary_of(error)}\n"]
    )
