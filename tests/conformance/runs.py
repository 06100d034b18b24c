"""Runs of the suite against a server that is started for them, and what all of them came to."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tests.conformance import suite
from tests.conformance.expectations import COMPRESSED, Verdict
from tests.conformance.modes import DEFLATE, FIVE_FUNCTIONS, PATHS, RFC, Mode, serve
from tests.conformance.results import Result, read_report

AGENT = "dorrit"

MINUTE_LONG = ("9.7.1", "9.8.1")
"""What the suite waits a minute for if there is no answer, as with the five functions."""


def run_cases(
    mode: Mode, path: str, cases: Sequence[str], folder: Path, *, seconds: float
) -> dict[str, Result]:
    """Run some cases and return the results, whatever they are.

    Args:
        mode: The server.
        path: The way to it.
        cases: Their names.
        folder: An empty folder for the report.
        seconds: When to give up.
    """
    with serve(mode, path) as url:
        report = suite.run(AGENT, url, cases, folder, seconds=seconds)
    return read_report(report, AGENT)


@dataclass(frozen=True)
class Column:
    """A mode on a path with the cases that are run there."""

    mode: Mode
    path: str
    cases: tuple[str, ...]

    @property
    def title(self) -> str:
        """What stands above it in the table."""
        return f"{self.mode.name}, {self.path}"

    def parts(self) -> list[tuple[str, ...]]:
        """Cut the cases into parts that take some minutes at most."""
        parts: dict[str, list[str]] = {}
        for case in self.cases:
            group = suite.group_of(case)
            if case in MINUTE_LONG:
                key = case
            elif group in COMPRESSED and self.mode.deflate:
                key = case.rpartition(".")[0]
            else:
                key = "rest"
            parts.setdefault(key, []).append(case)
        return [tuple(part) for part in parts.values()]

    def verdicts(self, results: Mapping[str, Result]) -> dict[str, Counter[Verdict]]:
        """Return what the cases of each group came to."""
        expectations = self.mode.expectations
        verdicts: dict[str, Counter[Verdict]] = {}
        for case in self.cases:
            found = expectations.judge(results[case]) if case in results else Verdict.UNEXPECTED
            verdicts.setdefault(suite.group_of(case), Counter())[found] += 1
        return verdicts


def all_columns() -> list[Column]:
    """Return everything: each case on each path, with the five functions and without their rules.

    permessage-deflate has a server of its own, so that the other groups meet one that has none.
    """
    plain = tuple(case for case in suite.all_cases() if suite.group_of(case) not in COMPRESSED)
    compressed = tuple(case for case in suite.all_cases() if suite.group_of(case) in COMPRESSED)
    return [
        Column(mode, path, cases)
        for mode, cases in (
            (FIVE_FUNCTIONS, suite.all_cases()),
            (RFC, plain),
            (DEFLATE, compressed),
        )
        for path in PATHS
    ]


def run_columns(
    columns: Iterable[Column], folder: Path, *, seconds: float, say: Callable[[str], None]
) -> dict[str, dict[str, Result]]:
    """Run everything, on each processor one thing at a time, and one more for those that wait.

    Args:
        columns: What to run.
        folder: An empty folder for the reports.
        seconds: When to give up a part.
        say: Is told of each part that is done.

    Returns:
        The results of each column by its title.
    """
    columns = list(columns)
    results: dict[str, dict[str, Result]] = {column.title: {} for column in columns}
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        parts: dict[Future[dict[str, Result]], tuple[str, tuple[str, ...]]] = {}
        for column in columns:
            for cases in column.parts():
                place = folder / f"{len(parts)}"
                place.mkdir()
                part = pool.submit(
                    run_cases, column.mode, column.path, cases, place, seconds=seconds
                )
                parts[part] = column.title, cases
        try:
            for done in as_completed(parts):
                title, cases = parts[done]
                results[title].update(done.result())
                say(f"{title}: {cases[0]} to {cases[-1]}, {len(cases)} cases")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results
