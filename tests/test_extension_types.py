"""Whatever Python asks of a compiled type raises an exception at worst: nothing of it is a crash.

C takes `None` for any object unless somebody looks, and `__new__` makes objects that nobody has set
up. So this walks all modules that are compiled, all of their functions, types, methods and
attributes, in a process of its own.
"""

import gc
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

import dorrit

ROOT: Final = Path(__file__).parents[1]
ARGUMENTS_MAX: Final = 4
PY_TPFLAGS_HEAPTYPE: Final = 1 << 9
WAITS: Final = {"run"}
"""Methods that an engine that is set up does not come back from."""
ENDS: Final = {"replace_at_exit"}
"""Functions that have the process end in another way than this one is to."""


def compiled() -> list[str]:
    """The names of the modules that are compiled."""
    found = pkgutil.walk_packages(dorrit.__path__, "dorrit.")
    names = [module.name for module in found if not module.name.endswith("__main__")]
    return [
        name
        for name in names
        if str(importlib.import_module(name).__file__).endswith((".so", ".pyd"))
    ]


def types_of(module: ModuleType) -> list[type]:
    """Those that are compiled, and no class of Python's."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and not value.__flags__ & PY_TPFLAGS_HEAPTYPE
    ]


def all_types() -> list[type]:
    return [made for name in compiled() for made in types_of(importlib.import_module(name))]


def attempt(function: Callable[..., object], *arguments: object) -> object:
    """Call it, and begin with what it has returned if that is a coroutine."""
    try:
        result = function(*arguments)
        if inspect.iscoroutine(result) or hasattr(result, "cr_frame"):
            begun: Any = result
            try:
                begun.send(None)
            finally:
                begun.close()
    except BaseException:
        return None
    return result


def bare(made: type) -> Iterator[object]:
    """Objects of a type that nobody has set up."""
    for count in range(ARGUMENTS_MAX):
        for filler in (None, (), b"x"):
            found = attempt(made.__new__, made, *([filler] * count))
            if found is not None:
                yield found
                return


def argument_lists(objects: list[object]) -> Iterator[tuple[object, ...]]:
    for count in range(ARGUMENTS_MAX + 1):
        for filler in (None, -1):
            yield (filler,) * count
            for one in objects:
                yield (one,) * count
                yield (one, *(filler,) * count)
                yield (filler, one, *(filler,) * count)


def names_of(thing: object) -> list[str]:
    """What a type has of its own, operators and what Cython adds included."""
    plain = set(dir(object)) - {"__init__", "__repr__", "__eq__", "__hash__", "__reduce__"}
    return [name for name in dir(type(thing)) if name not in plain]


def use(thing: object, objects: list[object], but: set[str]) -> None:
    """Read, write and delete each attribute, and call each method."""
    for name in names_of(thing):
        if name in but or name in {"__class__", "__new__", "__subclasshook__"}:
            continue
        method = attempt(getattr, thing, name)
        if callable(method):
            for arguments in argument_lists(objects):
                attempt(method, *arguments)
        else:
            for value in (None, *objects):
                attempt(setattr, thing, name, value)
            attempt(delattr, thing, name)


def walk(name: str) -> None:
    """Use a module and all of its types, in this process."""
    module = importlib.import_module(name)
    objects = [found for made in all_types() for found in bare(made)]
    for made in types_of(module):
        for found in bare(made):
            use(found, objects, set())
    for called, function in list(vars(module).items()):
        if callable(function) and not isinstance(function, type) and called not in ENDS:
            for arguments in argument_lists(objects):
                attempt(function, *arguments)
    for found in objects:
        use(found, [], set())
    print(len(objects))


def walk_set_up() -> None:
    """Use objects that are set up with `None` and with those that are not."""
    from dorrit.dispatch.eager_task import EagerStarter
    from dorrit.dispatch.worker import Workers
    from tests.support.harness import Harness

    objects = [found for made in all_types() for found in bare(made)]
    with Harness() as harness:
        conn = harness.connection(harness.open())
        closed = harness.connection(harness.open())
        closed.abort()
        harness.settle()
        for found in (conn, closed):
            use(found, objects, {"abort"})
        use(harness.engine, [*objects, closed], {*WAITS, "close"})
        for made in (
            Workers(None, None, None, 1, 1),
            Workers(print, print, print, 1, 1),
            EagerStarter(None, ""),  # type: ignore[arg-type]
        ):
            use(made, [*objects, closed], set())
    print(len(objects))


def test_there_are_compiled_modules_and_types_to_walk() -> None:
    names = {made.__name__ for made in all_types()}
    assert {"Engine", "Connection", "Timer", "Worker", "TaskBody", "Disposition"} <= names
    assert len(compiled()) >= 19
    nobody: list[type] = [made for made in all_types() if not list(bare(made))]
    assert nobody == [], "there is one of each"


def in_child(call: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", f"from {__name__} import *; {call}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-5000:]
    assert int(ran.stdout.split()[-1]) > 10


@pytest.mark.parametrize("name", compiled())
def test_nothing_that_is_asked_of_a_bare_object_is_a_crash(name: str) -> None:
    in_child(f"walk({name!r})")


def test_nothing_that_is_asked_of_an_engine_and_its_connections_is_a_crash() -> None:
    in_child("walk_set_up()")


def test_what_is_collected_with_a_cycle_ends_without_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The collector empties the attributes of what it finds, the oldest first, and then it goes.
    faults: list[str] = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda fault: faults.append(f"{made}: {fault.exc_value!r}")
    )
    for made in all_types():
        found: object = next(iter(bare(made)), None)
        cycle = [found]
        cycle.append(cycle)
        del found, cycle
        gc.collect()
    assert faults == []
