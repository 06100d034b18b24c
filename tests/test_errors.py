"""What dorrit raises itself."""

import errno

import pytest

from dorrit.errors import DorritError, StartError, closest, reason_of


def test_one_clause_catches_all_of_them() -> None:
    with pytest.raises(DorritError, match=r"^no room$"):
        raise StartError("no room")


def test_a_start_that_fails_is_exit_status_1_unless_the_command_line_is_at_fault() -> None:
    assert StartError("no room").status == 1
    assert StartError("no such option", status=2).status == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EACCES, "Permission denied", "/run/a"), "/run/a: Permission denied"),
        (OSError(errno.EACCES, "Permission denied", b"/run/a"), "/run/a: Permission denied"),
        (OSError(errno.EACCES, "Permission denied", 3), "Permission denied"),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "Too many open files; raise the limit of the process (ulimit -n)",
        ),
        (OSError("not of the system"), "not of the system"),
    ],
)
def test_what_the_system_has_refused_is_said_with_the_file_and_what_to_do(
    error: OSError, said: str
) -> None:
    assert reason_of(error) == said


def test_the_closest_of_some_names_is_the_one_that_was_meant() -> None:
    known = ["message", "open", "close"]
    assert closest("massage", known) == "message"
    assert closest("something else", known) is None
    assert closest("opens", known, 0.99) is None
