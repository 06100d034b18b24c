"""The engine's tests against other builds of it: with sanitizers, and over kqueue.

Each build is kept in build/variant-NAME, so that only what has changed is compiled again.
"""

import os
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from tests.support.examples import FEWER
from tests.support.variants import build, folder_of, run

SANITIZED = (
    "-Dinvariants=true",
    "-Db_sanitize=address,undefined",
    "-Db_lundef=false",
    # The optimizer takes ten times as long for what instrumentation adds as it saves the tests.
    "-Dbuildtype=plain",
    "-Doptimization=0",
    "-Dc_args=-g1",
)


EVERY_STORE = "DORRIT_EVERY_STORE"
"""Says that the process ends at every so many-th store, and not at every seventh."""


def loaded(site: Path, environment: Mapping[str, str]) -> list[Path]:
    """The extension modules that a test gets to use, which must be those of this build."""
    packages = [site / "dorrit" / name for name in ("dispatch", "engine")]
    built = [path for package in packages for path in sorted(package.glob("*.so"))]
    assert {path.parent for path in built} == set(packages)
    names = [f"dorrit.{path.parent.name}.{path.name.partition('.')[0]}" for path in built]
    code = f"import importlib\nfor name in {names}: print(importlib.import_module(name).__file__)"
    assert run([sys.executable, "-c", code], **environment).splitlines() == list(map(str, built))
    return built


def run_tests(environment: Mapping[str, str], *others: str, but: Collection[str]) -> None:
    """Run the engine's tests, but not those in some of its files, and other files."""
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider"]
    # Each test takes as long as it takes here; one that hangs is still named.
    command += ["--timeout=900"]
    # A sanitizer ends the process: what pytest had captured of its report would be lost.
    command += ["--capture=sys", "--show-capture=no"]
    ignored = [f"--ignore=tests/engine/{name}" for name in but]
    run([*command, "tests/engine", *ignored, *others], **environment)


def test_the_engine_under_sanitizers_with_its_invariants_checked() -> None:
    site = build("sanitized", *SANITIZED)
    compiler = os.environ.get("CC", "cc")
    names = ("libasan.so", "libubsan.so")
    libraries = [run([compiler, f"-print-file-name={name}"]).strip() for name in names]
    environment = {
        "PYTHONPATH": str(site),
        "LD_PRELOAD": " ".join(libraries),
        # Python's own allocator would hide where an object ends.
        "PYTHONMALLOC": "malloc",
        # What the interpreter keeps to its end is no leak of ours; test_leaks counts. What has been
        # freed is kept from being used again for 64 MB, instead of 256.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=64",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        FEWER: "4",
    }
    for path in loaded(site, environment):
        symbols = run(["nm", "--dynamic", "--undefined-only", path])
        assert "__asan_report" in symbols
        assert "__ubsan_handle" in symbols
    assert "-DDORRIT_INVARIANTS=1" in (folder_of("sanitized") / "build.ninja").read_text()
    # References are counted by hand in the first steps of coroutines, too.
    first_steps = ("tests/dispatch/test_eager_task.py", "tests/dispatch/test_ready_task.py")
    # Many clients at once, plain and `async`, in processes of their own.
    crowds = "tests/attacks/test_crowds.py"
    # How much memory a process takes says nothing about this build, nor what a message costs.
    but = ["test_scale.py", "test_ledger_cost.py"]
    run_tests(environment, *first_steps, crowds, but=but)


def test_the_engine_over_kqueue() -> None:
    site = build("kqueue", "-Dpoller=kqueue-shim")
    environment = {"PYTHONPATH": str(site)}
    symbols = [run(["nm", path]) for path in loaded(site, environment)]
    polling = [text for text in symbols if "dorrit_poller_wait" in text]
    assert polling
    assert all("kevent" in text for text in polling)
    # The poller has no part in what a stream means, nor in the lists of connections, of which the
    # tests pause so many so often that the kqueue on top of an epoll would take minutes.
    properties = ["test_parsing_property.py", "test_rfc_property.py"]
    but = ["test_scale.py", "test_ledger_cost.py", "test_references.py", *properties]
    run_tests(environment, but=but)


def test_L4_L8_a_process_that_ends_at_any_store_leaves_what_was_before_it_or_is_behind_it() -> None:
    site = build("steps", "-Dledger_steps=true")
    library = folder_of("steps") / "steps.so"
    run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "tests/engine/steps.c", "-o", library])
    environment = {"PYTHONPATH": str(site), "LD_PRELOAD": str(library)}
    every = os.environ.get(EVERY_STORE, "7")
    for program in ("every_store", "every_store_supervised"):
        said = run([sys.executable, "-m", f"tests.engine.{program}", every], **environment)
        stores, tried = map(int, re.findall(r"\d+", said))
        assert stores > 1000
        assert tried >= stores // int(every)


pytestmark = pytest.mark.timeout(3600)
