"""What dorrit raises itself."""

import pytest

from dorrit.errors import DorritError, StartError


def test_one_clause_catches_all_of_them() -> None:
    with pytest.raises(DorritError, match=r"^no room$"):
        raise StartError("no room")


def test_a_start_that_fails_is_exit_status_1_unless_the_command_line_is_at_fault() -> None:
    assert StartError("no room").status == 1
    assert StartError("no such option", status=2).status == 2
