"""The list of what is not reached is right in both directions, or there is a complaint."""

import pytest

from tests.coverage.gaps import Gap
from tests.coverage.mirror import SOURCE
from tests.coverage.unreached import (
    LIST,
    PAGE,
    Entry,
    complaints,
    entries,
    names_nothing,
    with_table,
)

GAP = Gap("process/a.py", 7, "f: return 1", 1)
ENTRY = Entry("process/a.py", "f: return 1", "Nothing gets there.")
MODULES = {"process/a.py"}


def test_a_gap_that_is_in_the_list_is_no_complaint() -> None:
    assert complaints([GAP], [ENTRY], MODULES) == []
    assert complaints([], [], MODULES) == []


def test_a_gap_that_is_not_in_the_list_is_one_and_can_be_copied_into_it() -> None:
    (said,) = complaints([GAP], [], MODULES)
    assert said.startswith("process/a.py:7: not reached")
    assert said.endswith('gap = "f: return 1"')
    assert len(complaints([GAP], [Entry("process/b.py", GAP.name, "No.")], MODULES)) == 1


def test_an_entry_that_is_reached_by_now_is_one() -> None:
    (said,) = complaints([], [ENTRY], MODULES)
    assert "'f: return 1' 1 times as not reached, which it is 0 times" in said


def test_an_entry_of_a_module_that_was_not_measured_is_none() -> None:
    assert complaints([], [ENTRY], {"process/b.py"}) == []


def test_a_second_place_of_the_same_name_is_one() -> None:
    second = Gap(GAP.module, 9, GAP.name, 1)
    assert len(complaints([GAP, second], [ENTRY], MODULES)) == 1
    twice = Entry(ENTRY.module, ENTRY.gap, ENTRY.why, times=2)
    assert complaints([GAP, second], [twice], MODULES) == []
    assert len(complaints([GAP], [twice], MODULES)) == 1


def test_several_gaps_may_have_one_reason() -> None:
    text = '[["a.py"]]\ngaps = ["x", "y"]\nwhy = "No."\n'
    assert entries(text) == [Entry("a.py", "x", "No."), Entry("a.py", "y", "No.")]


@pytest.mark.parametrize("why", ["", "because"])
def test_an_entry_without_a_sentence_that_says_why_is_refused(why: str) -> None:
    with pytest.raises(ValueError, match="says why"):
        entries(f'[["a.py"]]\ngaps = ["x"]\nwhy = "{why}"\n')


def test_an_entry_that_stands_there_twice_is_refused() -> None:
    one = '[["a.py"]]\ngaps = ["x"]\nwhy = "No."\n'
    with pytest.raises(ValueError, match="2 times"):
        entries(one + one)


def test_the_projects_list_names_modules_that_there_are() -> None:
    missing = {entry.module for entry in entries(LIST.read_text())}
    assert {module for module in missing if not (SOURCE / module).is_file()} == set()


def test_the_page_of_the_documentation_has_the_list() -> None:
    # `python -m tests.coverage --page` writes it.
    page = PAGE.read_text()
    assert page == with_table(page, entries(LIST.read_text()))


def test_each_entry_names_what_there_is() -> None:
    assert [entry for entry in entries(LIST.read_text()) if names_nothing(entry)] == []


@pytest.mark.parametrize(
    ("module", "gap"),
    [
        ("process/a.py", "return 1"),
        ("process/fork/daemon.py", "_fork: return 1"),
        ("process/fork/daemon.py", "_spawn: return os.fork()"),
        ("process/fork/daemon.py", "_fork: return os.fork() -> return 1"),
    ],
)
def test_an_entry_that_names_nothing_any_more_is_found(module: str, gap: str) -> None:
    assert names_nothing(Entry(module, gap, "Nothing gets there."))


@pytest.mark.parametrize("to", ["", " -> (end)", " -> return os.fork()"])
def test_an_entry_that_names_something_is_not(to: str) -> None:
    assert not names_nothing(Entry("process/fork/daemon.py", f"_fork: return os.fork(){to}", "So."))
