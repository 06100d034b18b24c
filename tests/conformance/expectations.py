"""What dorrit has to do in each case, and whether it has done that."""

import enum
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.results import Result
from tests.conformance.suite import group_of

FILE = Path(__file__).parent / "excluded.toml"

INFORMATIONAL = {"7.1.6": 1000, "7.13.1": 1002, "7.13.2": 1002}
"""The cases on which the suite has no opinion, and dorrit's close code."""

COMPRESSED = {"12", "13"}
"""The groups for permessage-deflate (RFC 7692)."""


class Verdict(enum.Enum):
    """What a case came to."""

    OK = "OK"
    INFORMATIONAL = "INFORMATIONAL"
    EXCLUDED = "excluded"
    NOT_OFFERED = "not offered"
    UNEXPECTED = "UNEXPECTED"


@dataclass(frozen=True)
class Exclusion:
    """Cases that the five functions' rules exclude.

    Attributes:
        reason: Which rule it is.
        close_code: How dorrit refuses them; None if it does not, and has no answer.
        cases: Their names.
    """

    reason: str
    close_code: int | None
    cases: tuple[str, ...]

    def describes(self, result: Result) -> bool:
        """Whether dorrit did what this says."""
        if self.close_code is not None:
            return result.close_code == self.close_code
        # The suite closes in the end, without a code or with 1001, and dorrit repeats that.
        return result.received == 0 and result.closed_by_suite and result.close_code in {None, 1001}


def read_exclusions(file: Path = FILE) -> tuple[Exclusion, ...]:
    """Return what the five functions' rules exclude."""
    entries = tomllib.loads(file.read_text())["excluded"]
    return tuple(
        Exclusion(entry["reason"], entry.get("close_code"), tuple(entry["cases"]))
        for entry in entries
    )


class Expectations:
    """What has to happen in one mode."""

    def __init__(self, exclusions: Iterable[Exclusion], *, deflate: bool) -> None:
        """Describe the mode.

        Args:
            exclusions: What its rules exclude.
            deflate: Whether it has permessage-deflate.
        """
        self._exclusions = {case: each for each in exclusions for case in each.cases}
        self._deflate = deflate

    def judge(self, result: Result) -> Verdict:
        """Return what a case came to. An excluded case that passes is unexpected as well."""
        excluded = self._exclusions.get(result.case)
        if excluded is not None:
            return Verdict.EXCLUDED if excluded.describes(result) else Verdict.UNEXPECTED
        if result.case in INFORMATIONAL:
            right = (
                result.behavior == result.behavior_close == "INFORMATIONAL"
                and result.close_code == INFORMATIONAL[result.case]
            )
            return Verdict.INFORMATIONAL if right else Verdict.UNEXPECTED
        if result.behavior_close != "OK":
            return Verdict.UNEXPECTED
        if group_of(result.case) in COMPRESSED and not self._deflate:
            unimplemented = result.behavior == "UNIMPLEMENTED"
            return Verdict.NOT_OFFERED if unimplemented else Verdict.UNEXPECTED
        # NON-STRICT, which the suite accepts where an answer is lost, is not good enough.
        return Verdict.OK if result.behavior == "OK" else Verdict.UNEXPECTED

    def complaints(self, cases: Sequence[str], results: Mapping[str, Result]) -> list[str]:
        """Return what is wrong with the results of some cases, each with its report."""
        wrong = []
        for case in cases:
            if case not in results:
                wrong.append(f"{case}: was not run")
            elif self.judge(results[case]) is Verdict.UNEXPECTED:
                wrong.append(f"{results[case]}\n{results[case].details}")
        surplus = sorted(set(results) - set(cases))
        return wrong + [f"{case}: was not asked for" for case in surplus]
