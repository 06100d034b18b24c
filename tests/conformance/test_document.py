"""Whether docs/conformance.md says what is expected."""

from collections import Counter

from tests.conformance.document import (
    FILE,
    exclusions_table,
    read_results_table,
    results_table,
)
from tests.conformance.expectations import COMPRESSED, INFORMATIONAL, Verdict, read_exclusions
from tests.conformance.runs import all_columns
from tests.conformance.suite import group_of, version


def test_a_table_of_results_can_be_read_again() -> None:
    first = {"2": Counter({Verdict.OK: 3}), "10": Counter({Verdict.EXCLUDED: 1, Verdict.OK: 2})}
    second = {"2": Counter({Verdict.NOT_OFFERED: 1})}
    read = read_results_table(results_table({"one": first, "other": second}) + "\n")
    assert read == {
        "one": {**first, "all": Counter({Verdict.OK: 5, Verdict.EXCLUDED: 1})},
        "other": {**second, "all": second["2"]},
    }


def test_the_page_gives_the_reasons_that_the_tests_know() -> None:
    page = FILE.read_text()
    assert exclusions_table(read_exclusions()) in page
    assert f"autobahntestsuite {version()} " in page


def test_the_page_accounts_for_every_case_and_nothing_in_it_was_unexpected() -> None:
    table = read_results_table(FILE.read_text())
    columns = all_columns()
    assert list(table) == [column.title for column in columns]
    for column in columns:
        found = table[column.title]
        total = found.pop("all")
        assert sum(found.values(), Counter()) == total
        assert total.total() == len(column.cases)
        assert total[Verdict.UNEXPECTED] == 0
        excluded = {case for each in column.mode.exclusions for case in each.cases}
        for group, verdicts in found.items():
            cases = {case for case in column.cases if group_of(case) == group}
            assert verdicts.total() == len(cases)
            assert verdicts[Verdict.EXCLUDED] == len(cases & excluded)
            assert verdicts[Verdict.INFORMATIONAL] == len(cases & set(INFORMATIONAL) - excluded)
            not_offered = group in COMPRESSED and not column.mode.deflate
            assert verdicts[Verdict.NOT_OFFERED] == (len(cases) if not_offered else 0)
