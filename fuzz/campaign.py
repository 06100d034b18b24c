"""Every fuzzer for some time, one by one: python -m fuzz.campaign SECONDS [fuzzer ...].

The engine is compiled by clang with AddressSanitizer, UndefinedBehaviorSanitizer, its own
invariants and libFuzzer's coverage. What is found is kept in build/fuzz/found; an input with
another outcome than those allowed is in build/fuzz/crashes, and ends the campaign.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "fuzz"
TARGETS = ("handshake", "deflate", "engine")
CORE = Path("src/dorrit/engine/core")
CORE_TARGETS = {
    "core_frame": [CORE / "frame.c", CORE / "masking.c"],
    "core_utf8": [CORE / "utf8.c"],
    "core_ledger": [CORE / "checksum.c"],
    "core_topics": [],
}
SANITIZERS = ("-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")


def run(command: Sequence[object], environment: Mapping[str, str] | None = None) -> None:
    """Run a command in the project's folder, and stop if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=ROOT, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"returned {done.returncode}: {' '.join(words)}")


def build_clock() -> Path:
    """Compile the clock that stands still; return what is to be preloaded."""
    BUILD.mkdir(parents=True, exist_ok=True)
    library = BUILD / "clock.so"
    command = ["cc", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    run([*command, "fuzz/clock.c", "-o", library, "-ldl"])
    return library


def build_engine() -> Path:
    """Compile dorrit for the fuzzer; return the folder to import it from."""
    python = Path(sys.executable)
    # What Cython writes adds 0 to NULL, which is harmless and which C forbids.
    arguments = (
        "-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=pointer-overflow "
        "-fno-sanitize-recover=undefined -g"
    )
    options = ["-Dinvariants=true", "-Dbuildtype=debug", "-Doptimization=1", "-Db_lundef=false"]
    options.append(f"-Dc_args={arguments}")
    command = [python, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
    command += ["--disable-pip-version-check", "--upgrade", "--target", BUILD / "site"]
    command += [f"-Cbuild-dir={BUILD / 'engine'}"]
    command += [f"-Csetup-args={option}" for option in options]
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    run([*command, ROOT], os.environ | {"CC": "clang", "PATH": path})
    return BUILD / "site"


def build_core(target: str) -> Path:
    """Compile a fuzzer of the C core."""
    program = BUILD / target
    run([
        "clang", "-std=c11", "-D_GNU_SOURCE", "-O1", *SANITIZERS, f"-I{CORE}", "-Itests/core",
        "-fsanitize=address,undefined,fuzzer", f"fuzz/{target}.c", *CORE_TARGETS[target],
        "-o", program,
    ])  # fmt: skip
    return program


def environment_of(target: str) -> dict[str, str]:
    """Return the environment in which a fuzzer runs."""
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    if target == "engine":
        import atheris  # noqa: PLC0415 - what only replays does without

        environment |= {
            "LD_PRELOAD": f"{atheris.path()}/asan_with_fuzzer.so {build_clock()}",
            "PYTHONPATH": f"{build_engine()}{os.pathsep}{ROOT}",
            # Python's own allocator would hide where an object ends.
            "PYTHONMALLOC": "malloc",
            # What the interpreter keeps to its end is no leak of ours.
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        }
    return environment


def fuzz(target: str, seconds: int) -> None:
    """Fuzz for some time."""
    program: list[object] = [sys.executable, "-m", "fuzz.run", target]
    if target in CORE_TARGETS:
        program = [build_core(target)]
    found, crashes = BUILD / "found" / target, BUILD / "crashes" / target
    found.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        "-timeout=300",
        "-max_len=4096",
        "-print_final_stats=1",
    ]
    # Long inputs early: a program of many steps is worth more than a short one.
    options += ["-len_control=10", f"-artifact_prefix={crashes}/"]
    run([*program, *options, found, f"fuzz/corpus/{target}"], environment_of(target))


def main() -> None:
    """Run those that are named, or all of them."""
    for target in sys.argv[2:] or (*CORE_TARGETS, *TARGETS):
        fuzz(target, int(sys.argv[1]))


if __name__ == "__main__":
    main()
