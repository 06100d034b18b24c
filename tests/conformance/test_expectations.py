"""Whether the results are read and judged rightly: a case that ends otherwise must be found."""

import dataclasses
from collections import Counter

import pytest

from tests.conformance.expectations import (
    INFORMATIONAL,
    Exclusion,
    Expectations,
    Verdict,
    read_exclusions,
)
from tests.conformance.results import Result
from tests.conformance.suite import all_cases, group_of, in_groups

EXCLUSIONS = read_exclusions()


def result(case: str, behavior: str = "OK", behavior_close: str = "OK", **other: object) -> Result:
    """A result as a case has it that passes."""
    passed = Result(case, behavior, behavior_close, 1000, 1, closed_by_suite=True, milliseconds=1)
    return dataclasses.replace(passed, **other)  # type: ignore[arg-type]


def test_the_suite_has_517_cases_each_with_a_name_of_its_own() -> None:
    cases = all_cases()
    assert len(cases) == len(set(cases)) == 517
    assert Counter(group_of(case) for case in cases) == {
        "1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1,
        "12": 90, "13": 126,
    }  # fmt: skip
    assert in_groups((10, 3)) == ("3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "10.1.1")


def test_every_excluded_case_is_one_of_the_suite_and_is_excluded_once() -> None:
    cases = [case for each in EXCLUSIONS for case in each.cases]
    assert len(cases) == len(set(cases))
    assert set(cases) <= set(all_cases())
    assert all(each.reason for each in EXCLUSIONS)
    assert {each.close_code for each in EXCLUSIONS} == {1003, 1009, None}


@pytest.mark.parametrize("exclusions", [(), EXCLUSIONS], ids=["rfc", "five"])
def test_a_case_that_is_not_excluded_has_to_pass(exclusions: tuple[Exclusion, ...]) -> None:
    expectations = Expectations(exclusions, deflate=True)
    excluded = {case for each in exclusions for case in each.cases}
    checked = 0
    for case in set(all_cases()) - excluded - set(INFORMATIONAL):
        checked += 1
        assert expectations.judge(result(case)) is Verdict.OK
        for wrong in (
            result(case, "FAILED"),
            result(case, "NON-STRICT"),
            result(case, "UNIMPLEMENTED"),
            result(case, "INFORMATIONAL", "INFORMATIONAL"),
            result(case, "OK", "FAILED"),
            result(case, "OK", "WRONG CODE"),
            result(case, "OK", "UNCLEAN"),
            result(case, "OK", "FAILED BY CLIENT"),
        ):
            assert expectations.judge(wrong) is Verdict.UNEXPECTED
    assert checked == 517 - len(excluded | set(INFORMATIONAL))


def test_an_excluded_case_has_to_be_refused_with_its_code_and_must_not_pass() -> None:
    expectations = Expectations(EXCLUSIONS, deflate=False)
    checked = 0
    for each in EXCLUSIONS:
        for case in each.cases if each.close_code else ():
            checked += 1
            refused = result(case, "FAILED", "FAILED", close_code=each.close_code)
            assert expectations.judge(refused) is Verdict.EXCLUDED
            for code in {None, 1000, 1001, 1002, 1003, 1006, 1007, 1009} - {each.close_code}:
                other = dataclasses.replace(refused, close_code=code)
                assert expectations.judge(other) is Verdict.UNEXPECTED
            assert expectations.judge(result(case)) is Verdict.UNEXPECTED
    assert checked > 60


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"close_code": None}, Verdict.EXCLUDED),
        ({"close_code": 1001}, Verdict.EXCLUDED),
        ({"close_code": 1002}, Verdict.UNEXPECTED),
        ({"close_code": None, "received": 1}, Verdict.UNEXPECTED),
        ({"close_code": None, "closed_by_suite": False}, Verdict.UNEXPECTED),
        ({"behavior": "OK"}, Verdict.UNEXPECTED),
    ],
)
def test_an_empty_message_must_have_no_answer_and_end_nothing(
    changes: dict[str, object], verdict: Verdict
) -> None:
    silent = result("1.1.1", "FAILED", received=0)
    expectations = Expectations(EXCLUSIONS, deflate=False)
    assert expectations.judge(dataclasses.replace(silent, **changes)) is verdict  # type: ignore[arg-type]


def test_a_case_without_the_suites_opinion_has_to_end_with_dorrits_code() -> None:
    expectations = Expectations((), deflate=False)
    for case, code in INFORMATIONAL.items():
        right = result(case, "INFORMATIONAL", "INFORMATIONAL", close_code=code)
        assert expectations.judge(right) is Verdict.INFORMATIONAL
        for wrong in (
            dataclasses.replace(right, close_code=None),
            dataclasses.replace(right, behavior="FAILED"),
            result(case),
        ):
            assert expectations.judge(wrong) is Verdict.UNEXPECTED


def test_compression_that_is_off_must_not_be_agreed_on() -> None:
    expectations = Expectations((), deflate=False)
    for case in in_groups((12, 13)):
        assert expectations.judge(result(case, "UNIMPLEMENTED")) is Verdict.NOT_OFFERED
        assert expectations.judge(result(case)) is Verdict.UNEXPECTED
        failed = result(case, "UNIMPLEMENTED", "FAILED")
        assert expectations.judge(failed) is Verdict.UNEXPECTED


def test_cases_that_were_not_run_or_not_asked_for_are_complained_of() -> None:
    expectations = Expectations((), deflate=False)
    results = {"1.1.1": result("1.1.1"), "1.1.2": result("1.1.2", "FAILED", details="why")}
    assert expectations.complaints(["1.1.1"], {"1.1.1": results["1.1.1"]}) == []
    assert expectations.complaints(["1.1.1", "1.1.3"], results | {"1.1.4": result("1.1.4")}) == [
        "1.1.3: was not run",
        "1.1.2: was not asked for",
        "1.1.4: was not asked for",
    ]
    assert expectations.complaints(["1.1.1", "1.1.2"], results) == [
        "1.1.2: FAILED, closing OK, close code 1000, 1 ms\nwhy"
    ]
