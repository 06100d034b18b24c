"""The crash handler without an interpreter: test_crash.c crashes in many ways."""

import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build" / "core-tests"
CORE = ROOT / "src/dorrit/engine/core"
SOURCES = [
    ROOT / "tests/process/crash/test_crash.c",
    ROOT / "src/dorrit/process/crash/crash.c",
    CORE / "ledger_descriptors.c",
    CORE / "checksum.c",
]
FLAGS = [
    "-std=c11", "-D_GNU_SOURCE", "-pthread", f"-I{SOURCES[1].parent}", f"-I{CORE}",
    "-Wall", "-Wextra",
    "-Werror", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wstrict-prototypes",
    "-Wmissing-prototypes", "-Wno-infinite-recursion",
]  # fmt: skip
BUILDS = {
    "cc": ["cc", "-O2"],
    "clang": ["clang", "-O2"],
    # As on systems that can't mark many descriptors in one call.
    "cc-one-by-one": ["cc", "-O2", "-DDORRIT_CRASH_ONE_BY_ONE"],
}
NEXT = """\
argument next
argument two words
argument\x20
variable yes
descriptors 20 21 22
blocked 15
pending{pending}
ignored 12
timer 0
umask 027
directory {directory}
"""
"""What the next image says, after its pid."""


def compiled(name: str, command: list[str]) -> str:
    BUILD.mkdir(parents=True, exist_ok=True)
    program = str(BUILD / f"crash-{name}")
    done = subprocess.run(
        [*command, *FLAGS, *map(str, SOURCES), "-o", program],
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return program


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.needs(command[0])) for name, command in BUILDS.items()
    ],
)
def program(request: pytest.FixtureRequest) -> str:
    return compiled(request.param, BUILDS[request.param])


def run(program: str, way: str) -> tuple[int, str, str]:
    """Exit status, what was said on stdout by the process, and on stderr."""
    done = subprocess.run([program, way], check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def expect_next(
    program: str, way: str, number: int, directory: str = "/etc", pending: str = ""
) -> str:
    """Have it crash, see that the next image is as it must be, and return what was reported.

    With 0 for the number of a signal it is to be replaced without a crash.
    """
    status, out, err = run(program, way)
    first, second, rest = out.split("\n", 2)
    assert first == second  # the same pid
    record = f"record {number} lately\n" if number else ""
    assert rest == NEXT.format(directory=directory, pending=pending) + record
    assert status == 0
    return err


def test_R28_a_fault_runs_the_command_again_in_the_same_process(program: str) -> None:
    assert expect_next(program, "null", signal.SIGSEGV) == ""


def test_R28_abort_runs_the_command_again(program: str) -> None:
    assert expect_next(program, "abort", signal.SIGABRT) == ""


def test_R28_an_overflow_of_the_stack_runs_the_command_again(program: str) -> None:
    assert expect_next(program, "stack", signal.SIGSEGV) == ""


def test_R28_an_overflow_of_a_threads_stack_does_if_it_was_given_another(program: str) -> None:
    assert expect_next(program, "stack-of-thread", signal.SIGSEGV) == ""


def test_R28_threads_that_crash_together_run_the_command_once(program: str) -> None:
    for _ in range(20):
        assert expect_next(program, "threads", signal.SIGSEGV) == ""


def test_R28_a_forked_child_ends_by_its_signal_and_runs_nothing(program: str) -> None:
    status, out, err = run(program, "child")
    assert (status, err) == (0, "")
    assert out.splitlines()[1:] == ["child ended by signal 11"]


def test_R28_once_disarmed_a_crash_ends_the_process(program: str) -> None:
    status, out, err = run(program, "disarmed")
    assert (status, err) == (-signal.SIGSEGV, "")
    assert len(out.splitlines()) == 1


def make_garbage(path: Path) -> Path:
    path.write_bytes(b"\0\1\2\3")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("nowhere", ": no such file or directory"),
        ("file", ": permission denied"),
        ("file/program", ": not a directory"),
        ("garbage", ": not a program"),
        ("loop", ""),  # not every reason has words of its own
        ("x" * 200, ""),
    ],
)
def test_R28_a_program_that_cannot_be_run_is_reported_in_one_line(
    program: str, tmp_path: Path, what: str, why: str
) -> None:
    (tmp_path / "file").touch(mode=0o644)
    make_garbage(tmp_path / "garbage")
    (tmp_path / "loop").symlink_to("loop")
    if what == "x" * 200:
        what, why = "/".join([what] * 30), ""
    status, out, err = run(program, f"program {tmp_path}/{what}")
    assert status == -signal.SIGSEGV
    assert len(out.splitlines()) == 1
    whole = (
        f"prefix: can't run {tmp_path}/{what}{why}: the server can't be restarted after its crash"
    )
    assert err.endswith("\n")
    assert whole.startswith(err[:-1])
    assert err[:-1] == whole or len(err) == 513, "only a long line is cut"


def test_R28_a_file_that_cannot_be_read_is_reported_in_one_line(program: str) -> None:
    status, out, err = run(program, "no-file")
    assert status == -signal.SIGSEGV
    assert len(out.splitlines()) == 1
    assert err == (
        "prefix: can't read nowhere: no such file or directory: the server can't be restarted "
        "after its crash\n"
    )


def test_R28_without_its_directory_it_is_restarted_where_it_is(program: str) -> None:
    assert expect_next(program, "no-directory", signal.SIGSEGV, "/usr") == (
        "prefix: can't enter /nowhere: no such file or directory: the server is restarted "
        "elsewhere after its crash\n"
    )


def test_R28_the_record_is_never_written_into_another_file(program: str) -> None:
    status, out, err = run(program, "record-closed")
    assert status == -signal.SIGSEGV
    assert len(out.splitlines()) == 1
    assert err == (
        "prefix: the record of the crash can't be written: bad file descriptor: the server can't "
        "be restarted\n"
    )


@pytest.mark.parametrize("way", ["record-gone", "record-for-reading"])
def test_R28_without_its_record_the_server_is_not_restarted(program: str, way: str) -> None:
    status, _, err = run(program, way)
    assert status == -signal.SIGSEGV
    assert err.startswith("prefix: the record of the crash can't be written: bad file descriptor")


def test_R28_without_a_record_nothing_is_armed(program: str) -> None:
    status, _, err = run(program, "record-never")
    assert status > 0
    assert "arm" in err


def test_R28_arguments_that_are_too_long_are_reported_in_one_line(program: str) -> None:
    status, _, err = run(program, "too-long")
    assert status == -signal.SIGSEGV
    assert err == (
        f"prefix: can't run {program}: the arguments and the environment are too long: the server "
        "can't be restarted after its crash\n"
    )


@pytest.mark.parametrize(
    ("way", "descriptors"), [("inherited-gone", "20 22"), ("nothing-untouched", "20 21")]
)
def test_R29_the_next_image_has_those_that_there_are(
    program: str, way: str, descriptors: str
) -> None:
    status, out, err = run(program, way)
    assert (status, err) == (0, "")
    assert f"descriptors {descriptors}" in out.splitlines()


def test_R28_a_plan_that_is_armed_again_is_the_one_that_counts(program: str) -> None:
    assert expect_next(program, "armed-again", signal.SIGSEGV) == ""


@pytest.mark.parametrize("way", ["replace", "replace-in-thread", "replace-ignored"])
def test_L1_the_command_is_run_again_without_a_crash(program: str, way: str) -> None:
    assert expect_next(program, way, 0) == ""


def test_L1_a_signal_that_has_come_meanwhile_waits_for_the_next_image(program: str) -> None:
    assert expect_next(program, "replace-noted", 0, pending=" 15") == ""


def test_L1_a_process_without_a_plan_goes_on(program: str) -> None:
    status, out, err = run(program, "replace-disarmed")
    assert (status, err) == (97, "")
    assert len(out.splitlines()) == 1


def test_L1_a_forked_child_runs_nothing(program: str) -> None:
    status, out, _ = run(program, "replace-in-child")
    assert (status, out.splitlines()[1:]) == (97, ["child 7"])


def test_all_but_some_descriptors_are_closed_on_exec(program: str) -> None:
    _, out, _ = run(program, "close-on-exec")
    assert out.splitlines()[1:] == ["inheritable 0 1 2 21 23"]


def test_R28_a_fault_inside_the_handler_ends_the_process() -> None:
    program = compiled(
        "fault-in-handler", ["cc", "-O2", "-DFAULT_IN_HANDLER", "-Dumask=broken_umask"]
    )
    status, out, err = run(program, "null")
    assert (status, err) == (-signal.SIGSEGV, "")
    assert out.splitlines()[1:] == ["in the handler"]
