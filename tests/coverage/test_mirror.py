"""Which tests are a module's own."""

import pytest

from tests.coverage import mirror


def test_the_mirror_has_a_place_for_each_kind_of_module() -> None:
    assert mirror.of_name("api/guest.py") == "api/test_guest.py"
    assert mirror.of_name("errors.py") == "test_errors.py"
    assert mirror.of_name("__main__.py") == "test_main.py"
    assert mirror.of_name("cli/__init__.py") == "cli/test_cli.py"
    assert mirror.of_name("process/crash/_crash.pyx") == "process/crash/test_crash.py"


def test_all_that_has_code_is_a_module_and_nothing_else() -> None:
    found = mirror.modules()
    assert {"__init__.py", "engine/queue.pxd", "engine/turn.pyx", "process/crash/crash.c"} <= set(
        found
    )
    assert not {"protocol/__init__.py", "engine/engine.pyi", "engine/write.pxd"} & set(found)


def test_a_module_has_the_tests_of_its_name_and_those_that_are_listed() -> None:
    own = mirror.own_tests('"engine/reports.py" = ["engine/test_turn.py"]')
    assert own["engine/reports.py"] == ["engine/test_reports.py", "engine/test_turn.py"]
    assert own["protocol/fields.py"] == ["protocol/test_fields.py"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('"engine/no.py" = ["engine/test_turn.py"]', "no module"),
        ('"engine/turn.pyx" = ["engine/test_no.py"]', "no tests/engine/test_no.py"),
        ('"engine/turn.pyx" = ["engine/test_turn.py"]', "by its name"),
    ],
)
def test_what_is_listed_wrongly_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        mirror.own_tests(text)


def test_the_projects_list_is_right() -> None:
    assert mirror.own_tests()
