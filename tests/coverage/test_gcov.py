"""What is read of compiled code that has counted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.coverage import counting_compiler
from tests.coverage.cython_code import functions_of, statements
from tests.coverage.gcov import Counts, read

C = """\
int main(int count, char **words)
{
    (void)words;
    if (count > 1) {
        return 2;
    }
    END;
}
"""


@pytest.mark.parametrize(
    "end", ["return 0", "_exit(0)", "raise(9)", 'execl("/bin/true", "", (char *)0)']
)
def test_lines_and_branches_of_c_are_counted_whatever_its_end_is(tmp_path: Path, end: str) -> None:
    source, program = tmp_path / "main.c", tmp_path / "program"
    source.write_text("#include <unistd.h>\n#include <signal.h>\n" + C.replace("END", end))
    compiler = [sys.executable, counting_compiler.__file__, "cc"]
    subprocess.run([*compiler, "-Wall", "-Werror", source, "-o", program], check=True)
    subprocess.run([program], check=False)
    counts = read(tmp_path.glob("*.gcda"), tmp_path)[str(source)]
    assert [counts.lines[number] for number in (6, 7, 9)] == [1, 0, 1]
    assert sorted(count for _, count in counts.branches[6]) == [0, 1]
    assert counts.functions[6] == "main"


def test_counts_of_several_runs_are_added() -> None:
    counts = Counts()
    counts.add(1, 1, [(True, 1), (False, 0)])
    counts.add(1, 2, [(True, 0), (False, 2)])
    assert counts.lines[1] == 3
    assert counts.branches[1] == [(True, 1), (False, 2)]


WRITTEN = """\
  /* "dorrit/engine/a.pyx":3
 * def f():
 *     if a and b:             # <<<<<<<<<<<<<<
 */
  __pyx_t_1 = a;
  if (__pyx_t_1) {
  } else {
    goto __pyx_L1_bool_binop_done;
  }
  if (__pyx_t_1) {

    /* "dorrit/engine/a.pyx":4
 *     if a and b:
 *         g()             # <<<<<<<<<<<<<<
 */
    g();

    /* "dorrit/engine/a.pyx":3
 * def f():
 *     if a and b:             # <<<<<<<<<<<<<<
 */
  }
}
"""


@pytest.mark.parametrize("untrue", [0, 3])
@pytest.mark.parametrize("reached", [0, 2])
def test_statements_of_cython_are_found_by_the_comments_before_them(
    reached: int, untrue: int
) -> None:
    counts = Counts()
    counts.add(5, 5, [])
    counts.add(6, 5, [(True, 5), (False, 5)])
    counts.add(10, 5, [(True, reached), (False, untrue)])
    counts.add(16, reached, [])
    assert list(statements(WRITTEN, counts)) == [
        ("dorrit/engine/a.pyx", 3, True, untrue > 0),
        ("dorrit/engine/a.pyx", 4, reached > 0, None),
    ]


def test_functions_of_cython_have_names() -> None:
    text = "cdef class A:\n    cdef int f(self) except -1:\n        x\n    y\n"
    text += "cdef inline int g() noexcept:\n    z\n"
    assert functions_of(text) == {2: "A", 3: "A.f", 4: "A", 6: "g"}
