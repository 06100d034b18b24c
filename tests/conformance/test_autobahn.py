"""What of the Autobahn Testsuite fits in some minutes; `make conformance` runs all of it."""

from pathlib import Path

import pytest

from tests.conformance.expectations import Expectations, Verdict
from tests.conformance.modes import (
    DEFLATE,
    FIVE_FUNCTIONS,
    FIVE_FUNCTIONS_RFC,
    NO_RFC,
    RFC,
    Mode,
)
from tests.conformance.runs import MINUTE_LONG, run_cases
from tests.conformance.suite import in_groups

PLAIN = (1, 2, 3, 4, 5, 6, 7, 9, 10)

LARGE = ("9.1.1", "9.2.1", "9.3.9", "9.4.1", "9.5.6", "9.6.6", "9.7.6", "9.8.6")
"""Some of group 9, which has the largest messages and takes the longest."""

SECONDS = 600.0
"""When to give up: several times what it takes on a machine that has more to do."""


def prove(mode: Mode, path: str, cases: tuple[str, ...], folder: Path) -> None:
    """Run some cases and fail with the report of each that ended otherwise than expected."""
    results = run_cases(mode, path, cases, folder, seconds=SECONDS)
    judge = mode.expectations.judge
    unexpected = [each.case for each in results.values() if judge(each) is Verdict.UNEXPECTED]
    if unexpected:
        # The suite ends many cases after a second, in which a busy machine may do something else.
        again = folder / "again"
        again.mkdir()
        results |= run_cases(mode, path, unexpected, again, seconds=SECONDS)
    complaints = mode.expectations.complaints(cases, results)
    assert not complaints, "\n".join(complaints)


@pytest.mark.timeout(1300)
def test_R5_five_functions_pass_what_their_rules_do_not_exclude(tmp_path: Path) -> None:
    cases = tuple(case for case in in_groups(PLAIN) if case not in MINUTE_LONG)
    prove(FIVE_FUNCTIONS, "direct", cases, tmp_path)


@pytest.mark.timeout(1300)
def test_R5_five_functions_do_the_same_behind_nginx(tmp_path: Path) -> None:
    prove(FIVE_FUNCTIONS, "nginx", in_groups((1, 2, 3, 4, 5, 6, 7, 10)) + LARGE, tmp_path)


def test_R2_five_functions_agree_on_no_extension(tmp_path: Path) -> None:
    prove(FIVE_FUNCTIONS, "direct", ("12.1.1", "13.1.1", "13.7.1"), tmp_path)


@pytest.mark.timeout(1300)
def test_all_of_RFC_6455_passes_without_these_rules(tmp_path: Path) -> None:
    prove(RFC, "direct", in_groups(PLAIN), tmp_path)


@pytest.mark.timeout(1300)
def test_RFC_6455_passes_behind_nginx(tmp_path: Path) -> None:
    prove(RFC, "nginx", in_groups((1, 2, 3, 4, 5, 7, 10)) + LARGE, tmp_path)


@pytest.mark.timeout(1300)
def test_RFC_7692_passes_with_all_sets_of_parameters(tmp_path: Path) -> None:
    # Each kind of data and each set of parameters, and some large or fragmented messages.
    cases = [case for case in in_groups((12, 13)) if case.endswith(".1")]
    prove(DEFLATE, "direct", (*cases, "12.1.10", "12.2.11", "13.2.11", "13.4.18"), tmp_path)


@pytest.mark.timeout(1300)
def test_five_functions_can_do_without_these_rules(tmp_path: Path) -> None:
    cases = (*in_groups((1, 5, 10)), "9.1.6", "9.2.6", "9.3.9", "9.4.5")
    prove(FIVE_FUNCTIONS_RFC, "direct", cases, tmp_path)


@pytest.mark.timeout(1300)
def test_server_object_can_have_these_rules(tmp_path: Path) -> None:
    prove(NO_RFC, "direct", (*in_groups((1, 5, 10)), "9.1.1", "9.3.9", "9.4.5"), tmp_path)


def test_what_does_not_pass_is_found_with_its_report(tmp_path: Path) -> None:
    cases = ("1.1.2", "1.1.7", "2.2", "5.3")
    results = run_cases(FIVE_FUNCTIONS, "direct", cases, tmp_path, seconds=SECONDS)
    complaints = Expectations((), deflate=False).complaints(cases, results)
    assert [complaint.partition(":")[0] for complaint in complaints] == ["1.1.7", "5.3"]
    assert "payload of length 65536." in complaints[0]
    assert "close code 1003" in complaints[1]
