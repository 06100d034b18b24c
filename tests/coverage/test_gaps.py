"""What a gap is, and what it is called."""

from tests.coverage.gaps import Gap, Source
from tests.coverage.python_code import functions_of

TEXT = """\
import os

class A:
    def f(self):
        if os.x:
            a()
            b()
        return 1

    async def g(self):
        def inner():
            return 2
        return inner
"""


def source() -> Source:
    return Source("a.py", TEXT, functions_of(TEXT))


def test_the_lines_of_a_block_are_one_gap_named_by_function_and_first_line() -> None:
    found = source().runs([6, 7, 12], [1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13])
    assert found == [Gap("a.py", 6, "A.f: a()", 2), Gap("a.py", 12, "A.g.inner: return 2", 1)]


def test_what_stands_less_deep_could_be_reached_otherwise_and_is_a_gap_of_its_own() -> None:
    found = source().runs([6, 7, 8], [5, 6, 7, 8])
    assert [gap.name for gap in found] == ["A.f: a()", "A.f: return 1"]


def test_lines_with_a_reached_one_between_them_are_two_gaps() -> None:
    assert [gap.line for gap in source().runs([5, 7], [5, 6, 7])] == [5, 7]


def test_a_branch_is_named_by_both_its_ends() -> None:
    made = source()
    assert made.branch(5, made.text(8)) == Gap("a.py", 5, "A.f: if os.x: -> return 1", 0)
    assert made.branch(8, made.text(-4)).name == "A.f: return 1 -> (end)"
    assert made.branch(1, "x").name == "import os -> x"
