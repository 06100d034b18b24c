"""docs/security.md says what the program does."""

import re
from pathlib import Path

from dorrit.settings import SETTINGS
from dorrit.settings.readers import text_of
from tests.attacks.attackers import ATTACKS

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()

LIMITS = {
    setting.option
    for setting in SETTINGS
    if re.search(r"^max_|_timeout$|^stop_grace$|^slow_clients$|^ping_interval$", setting.name)
}


def test_each_limit_stands_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(--[a-z-]+)` \| ([^ ]+) \|", PAGE, re.MULTILINE))
    assert rows == {
        setting.option: text_of(setting.default) for setting in SETTINGS if setting.option in LIMITS
    }


def test_each_option_that_is_named_is_one() -> None:
    options = {setting.option for setting in SETTINGS}
    assert set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", PAGE)) - options == set()


def test_there_are_figures_of_each_attack() -> None:
    rows = set(re.findall(r"^\| ([^|]+) \|(?: [\d.]+ \|){6}$", PAGE, re.MULTILINE))
    assert rows == set(ATTACKS) - {"a few slow requests"}


def test_each_module_that_is_named_as_a_proof_is_one() -> None:
    for name in re.findall(r"`(test_\w+)`", PAGE):
        assert (Path(__file__).parent / f"{name}.py").exists(), name
