"""The engine's tests against other builds of it: with sanitizers, and over kqueue.

Each build is kept in build/variants, so that only what has changed is compiled again.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VARIANTS = ROOT / "build" / "variants"

SANITIZED = (
    "-Dinvariants=true",
    "-Db_sanitize=address,undefined",
    "-Db_lundef=false",
    # The code is still as the optimizer makes it, in two thirds of the time.
    "-Dbuildtype=debug",
    "-Doptimization=1",
)


def run(command: Sequence[object], **environment: str) -> str:
    """Run a command, whose output is shown if it fails, and return what it prints."""
    ran = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        pytest.fail(f"{command} returned {ran.returncode}:\n{ran.stdout}", pytrace=False)
    return ran.stdout


def build(name: str, *options: str) -> Path:
    """Build dorrit with Meson's options; return the directory to import it from."""
    variant = VARIANTS / name
    site = variant / "site"
    python = Path(sys.executable)
    command = [python, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-input", "--upgrade", "--target", site]
    command += [f"-Cbuild-dir={variant / 'build'}"]
    command += [f"-Csetup-args={option}" for option in options]
    # Meson, Ninja and Cython stand beside the interpreter.
    run([*command, ROOT], PATH=f"{python.parent}{os.pathsep}{os.environ['PATH']}")
    return site


def loaded(site: Path, environment: Mapping[str, str]) -> list[Path]:
    """The extension modules that a test gets to use, which must be those of this build."""
    built = sorted((site / "dorrit" / "engine").glob("*.so"))
    assert built
    names = ", ".join("dorrit.engine." + path.name.partition(".")[0] for path in built)
    code = f"import {names}\nfor module in ({names}): print(module.__file__)"
    assert run([sys.executable, "-c", code], **environment).splitlines() == list(map(str, built))
    return built


def run_tests(environment: Mapping[str, str], *but: str) -> None:
    """Run the engine's tests, but not those in some of the files."""
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider"]
    # A sanitizer ends the process: what pytest had captured of its report would be lost.
    command += ["--capture=sys", "--show-capture=no"]
    ignored = [f"--ignore=tests/engine/{name}" for name in but]
    run([*command, "tests/engine", *ignored], **environment)


def sanitized() -> None:
    site = build("sanitized", *SANITIZED)
    compiler = os.environ.get("CC", "cc")
    names = ("libasan.so", "libubsan.so")
    libraries = [run([compiler, f"-print-file-name={name}"]).strip() for name in names]
    environment = {
        "PYTHONPATH": str(site),
        "LD_PRELOAD": " ".join(libraries),
        # Python's own allocator would hide where an object ends.
        "PYTHONMALLOC": "malloc",
        # What the interpreter keeps to its end is no leak of ours; test_leaks counts.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    for path in loaded(site, environment):
        symbols = run(["nm", "--dynamic", "--undefined-only", path])
        assert "__asan_report" in symbols
        assert "__ubsan_handle" in symbols
    assert "-DDORRIT_INVARIANTS=1" in (VARIANTS / "sanitized/build/build.ninja").read_text()
    # How much memory a process takes says nothing about this build.
    run_tests(environment, "test_scale.py")


def over_kqueue() -> None:
    site = build("kqueue", "-Dpoller=kqueue-shim", "-Dbuildtype=debug")
    environment = {"PYTHONPATH": str(site)}
    symbols = [run(["nm", path]) for path in loaded(site, environment)]
    polling = [text for text in symbols if "dorrit_poller_wait" in text]
    assert polling
    assert all("kevent" in text for text in polling)
    # The poller has no part in what a stream means.
    run_tests(environment, "test_scale.py", "test_parsing_property.py")


@pytest.fixture(scope="module")
def variants() -> Iterator[dict[str, Future[None]]]:
    """Both at a time, since they take longest of all tests."""
    with ThreadPoolExecutor() as pool:
        yield {variant.__name__: pool.submit(variant) for variant in (sanitized, over_kqueue)}


def test_the_engine_over_kqueue(variants: dict[str, Future[None]]) -> None:
    variants["over_kqueue"].result()


def test_the_engine_under_sanitizers_with_its_invariants_checked(
    variants: dict[str, Future[None]],
) -> None:
    variants["sanitized"].result()


pytestmark = pytest.mark.timeout(900)
