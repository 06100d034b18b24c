"""The C core without an interpreter: its tests, plain and under sanitizers, and its fuzzers.

Everything is compiled into ``build/core-tests``, with all warnings as errors. A C test that fails
says what it was and which input it tried.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "core-tests"
CORE = Path("src/dorrit/engine/core")
POLLER = Path("src/dorrit/engine/poller")
TESTS = Path("tests/core")
FUZZ = Path("fuzz")
SHIM = TESTS / "kqueue_shim"
LEDGERS = sorted(path.name for path in (ROOT / TESTS / "ledgers").iterdir())
ON_LINUX = sys.platform == "linux"

WARNINGS = [
    "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-Wconversion",
    "-Wsign-conversion", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes",
]  # fmt: skip
SANITIZERS = ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
ADDRESS = "-fsanitize=address,undefined"
BUILDS = {
    "cc": ["cc", "-O3"],
    "cc-sanitized": ["cc", *SANITIZERS, ADDRESS],
    "clang": ["clang", "-O3"],
}
"""Debian's cc is gcc; on macOS and FreeBSD it is clang. Each warns of other things."""

KQUEUE_SHIM = [SHIM / "kqueue.c"] if ON_LINUX else []
POLLERS = {
    **({"epoll": [POLLER / "epoll.c"]} if ON_LINUX else {}),
    "kqueue": [POLLER / "kqueue.c", *KQUEUE_SHIM],
}
FUZZERS = {
    "core_frame": [CORE / "frame.c", CORE / "masking.c"],
    "core_utf8": [CORE / "utf8.c"],
    "core_ledger": [CORE / "checksum.c"],
    "core_topics": [],
}
RUNS = {"core_frame": 100_000, "core_utf8": 30_000, "core_ledger": 3_000, "core_topics": 10_000}
"""Some seconds; a longer run is ``build/core-tests/core_frame CORPUS``."""


def run(command: list[str]) -> None:
    """Run it in the project's folder; what it printed is the message when it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"},
    )
    if done.returncode != 0:
        pytest.fail(f"exit {done.returncode}: {' '.join(command)}\n{done.stdout}", pytrace=False)


def compiled(name: str, compiler: list[str], sources: list[Path]) -> str:
    """Compile a program and return its path."""
    BUILD.mkdir(parents=True, exist_ok=True)
    program = str(BUILD / name)
    folders = [CORE, POLLER, TESTS, *([SHIM] if ON_LINUX else [])]
    includes = [f"-I{folder}" for folder in folders]
    run([*compiler, *WARNINGS, *includes, *map(str, sources), "-o", program])
    return program


def run_c_test(build: str, name: str, sources: list[Path], *arguments: str) -> None:
    run([compiled(f"{name}-{build}", BUILDS[build], sources), *arguments])


each_build = pytest.mark.parametrize(
    "build",
    [pytest.param(name, marks=pytest.mark.needs(command[0])) for name, command in BUILDS.items()],
)


@each_build
def test_R5_frame_headers_get_the_same_verdict_however_they_are_cut(build: str) -> None:
    run_c_test(build, "frame", [TESTS / "test_frame.c", CORE / "frame.c"])


@each_build
def test_R6_payloads_are_unmasked_at_every_length_and_alignment(build: str) -> None:
    run_c_test(build, "masking", [TESTS / "test_masking.c", CORE / "masking.c"])


@pytest.fixture(scope="module")
def every_character() -> str:
    """A file of all Unicode characters as Python's codec encodes them."""
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / "every-character"
    numbers = (number for number in range(0x110000) if not 0xD800 <= number <= 0xDFFF)
    path.write_bytes("".join(map(chr, numbers)).encode())
    return str(path)


@each_build
def test_R5_text_is_utf8_exactly_if_pythons_codec_says_so(build: str, every_character: str) -> None:
    run_c_test(build, "utf8", [TESTS / "test_utf8.c", CORE / "utf8.c"], every_character)


@each_build
def test_the_table_of_a_connections_life_keeps_its_rules(build: str) -> None:
    run_c_test(build, "life", [TESTS / "test_life.c", CORE / "life.c"])


@each_build
def test_L8_a_ledger_says_what_was_written_before_or_after_any_store(build: str) -> None:
    compiler = [*BUILDS[build], "-DDORRIT_LEDGER_STEPS"]
    sources = [TESTS / "test_ledger.c", CORE / "checksum.c"]
    run([compiled(f"ledger-{build}", compiler, sources)])


@each_build
def test_L8_a_message_is_in_all_queues_or_in_none_after_any_store(build: str) -> None:
    compiler = [*BUILDS[build], "-DDORRIT_LEDGER_STEPS"]
    sources = [TESTS / "test_journal.c", CORE / "checksum.c"]
    run([compiled(f"journal-{build}", compiler, sources)])


def test_L8_there_is_a_ledger_of_each_format() -> None:
    header = (ROOT / CORE / "ledger.h").read_text()
    found = re.search(r"DORRIT_LEDGER_FORMAT = (\d+),", header)
    assert found is not None
    assert [f"format-{number}.ledger" for number in range(1, int(found[1]) + 1)] == LEDGERS


@each_build
@pytest.mark.parametrize("ledger", LEDGERS)
def test_L8_a_ledger_that_an_earlier_release_has_written_is_read(build: str, ledger: str) -> None:
    sources = [TESTS / "test_kept_ledger.c", CORE / "checksum.c"]
    run_c_test(build, "kept-ledger", sources, str(TESTS / "ledgers" / ledger))


@each_build
@pytest.mark.parametrize("poller", POLLERS)
def test_R3_pollers_report_what_is_watched_and_nothing_else(build: str, poller: str) -> None:
    run_c_test(build, f"poller-{poller}", [TESTS / "test_poller.c", *POLLERS[poller]])


@each_build
def test_R3_a_kqueue_is_what_the_poller_takes_it_for(build: str) -> None:
    run_c_test(build, "kqueue", [TESTS / "test_kqueue.c", *KQUEUE_SHIM])


@each_build
def test_R1_sockets_never_block_nor_raise_signals(build: str) -> None:
    run_c_test(build, "sockets", [TESTS / "test_sockets.c", CORE / "sockets.c"])


@each_build
def test_a_channel_passes_each_message_with_its_own_descriptor_or_none(build: str) -> None:
    run_c_test(build, "channel", [TESTS / "test_channel.c", CORE / "channel.c"])


@each_build
def test_T2_who_has_subscribed_to_what_is_as_a_table_would_have_it(build: str) -> None:
    run_c_test(build, "topics", [TESTS / "test_topics.c"])


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_R5_the_fuzzers_corpus_is_judged_as_by_the_reference(fuzzer: str) -> None:
    sources = [FUZZ / f"{fuzzer}.c", FUZZ / "core_replay.c", *FUZZERS[fuzzer]]
    corpus = sorted(str(path) for path in (ROOT / FUZZ / "corpus" / fuzzer).iterdir())
    assert corpus
    run_c_test("cc-sanitized", f"{fuzzer}-replay", sources, *corpus)


# The compiler of macOS comes without libFuzzer; it replays the corpus above.
if sys.platform != "darwin":

    @pytest.mark.needs("clang")
    @pytest.mark.parametrize("fuzzer", FUZZERS)
    def test_R5_no_input_is_judged_otherwise_than_by_the_reference(
        fuzzer: str, tmp_path: Path
    ) -> None:
        compiler = ["clang", *SANITIZERS, f"{ADDRESS},fuzzer"]
        program = compiled(fuzzer, compiler, [FUZZ / f"{fuzzer}.c", *FUZZERS[fuzzer]])
        # What it finds goes to the first folder; a crash is kept where it can be looked at.
        found = tmp_path / "found"
        found.mkdir()
        run([
            program, f"-runs={RUNS[fuzzer]}", "-max_len=512", "-timeout=10",
            f"-artifact_prefix={BUILD}/{fuzzer}-", str(found), f"{FUZZ}/corpus/{fuzzer}",
        ])  # fmt: skip


@pytest.mark.needs("c++")
def test_the_measurement_of_topics_runs() -> None:
    """Each structure says itself that everybody was visited, and that nobody is left."""
    command = ["-m", "benchmarks.topics", "--divide", "1000", "--rounds", "1"]
    run([sys.executable, *command])


def test_the_measurement_of_the_loops_over_bytes_runs() -> None:
    sources = [TESTS / "speed.c", CORE / "masking.c", CORE / "utf8.c"]
    run_c_test("cc", "speed", sources, "1")
