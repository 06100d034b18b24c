"""``python -m tests.coverage [GROUP or MODULE ...]``: what the modules' own tests do not reach.

Without arguments, everything. A module is named by its path in the package, or by a pattern.
"""

import argparse
import fnmatch
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from tests.coverage import c_code, cython_code, python_code, unreached
from tests.coverage.gaps import Gap
from tests.coverage.mirror import own_tests
from tests.coverage.runs import TestsFailed, is_kept


class Session:
    """Measures what has not been measured yet, and reads what was.

    Attributes:
        failures: What was printed by runs of tests that failed.
    """

    def __init__(self, own: dict[str, list[str]], *, again: bool) -> None:
        """Take the modules with their tests."""
        self.own = own
        self.again = again
        self.failures: list[str] = []

    def _of(self, *suffixes: str) -> dict[tuple[str, ...], list[str]]:
        """Modules that have the same tests, by these."""
        together: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for module, tests in self.own.items():
            if tests and module.endswith(suffixes):
                together[tuple(tests)].append(module)
        return together

    def _measure(
        self, tests: Iterable[str], kept: Callable[[str], Path], measure: Callable[[str], None]
    ) -> None:
        for test in sorted(set(tests)):
            if self.again or not is_kept(kept(test)):
                try:
                    measure(test)
                except TestsFailed as failed:
                    self.failures.append(str(failed))

    def python(self) -> Iterator[Gap]:
        """The gaps of the modules that are Python."""
        together = self._of(".py")
        self._measure(chain.from_iterable(together), python_code.kept, python_code.measure)
        for tests, modules in together.items():
            yield from python_code.gaps(modules, tests)

    def cython(self) -> Iterator[Gap]:
        """The gaps of the modules that are Cython."""
        together = self._of(".pyx", ".pxd")
        if together:
            measure = partial(cython_code.measure, site=cython_code.build_that_counts())
            self._measure(chain.from_iterable(together), cython_code.kept, measure)
        for tests, modules in together.items():
            yield from cython_code.gaps(modules, tests)

    def c(self) -> Iterator[Gap]:
        """The gaps of the modules that are C."""
        together = self._of(".c")
        self._measure(chain.from_iterable(together), c_code.kept, c_code.measure)
        for tests, modules in together.items():
            yield from c_code.gaps(modules, tests)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, compare with the list, and say what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=__doc__)
    parser.add_argument("modules", nargs="*", default=["*"])
    parser.add_argument("--kept", action="store_true", help="don't run tests that have been")
    parser.add_argument("--page", action="store_true", help="write the list to docs/coverage.md")
    options = parser.parse_args(words)
    own = {
        module: tests
        for module, tests in own_tests().items()
        if any(fnmatch.fnmatch(module, pattern) for pattern in options.modules)
    }
    known = unreached.entries(unreached.LIST.read_text())
    if options.page:
        unreached.PAGE.write_text(unreached.with_table(unreached.PAGE.read_text(), known))
        return 0
    session = Session(own, again=not options.kept)
    gaps = [*session.python(), *session.cython(), *session.c()]
    said = [f"{module}: has no tests of its own" for module, tests in own.items() if not tests]
    said += unreached.complaints(gaps, known, own)
    for text in [*session.failures, *said]:
        print(text)
    return 1 if session.failures or said else 0


if __name__ == "__main__":
    sys.exit(main())
