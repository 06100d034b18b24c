"""Tests that need more than PyPI has: which, and what. tests/install installs it.

By the folder or file that a test stands in, or by the marker `needs`. Where it is missing, these
tests are skipped; continuous integration, where the variable CI is set, skips nothing.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conformance.suite import ENVIRONMENT

TESTS = Path(__file__).parents[1]
NODE_MODULES = "tests/integration/node_modules"
AUTOBAHN = "the Autobahn Testsuite"

NEEDED: Mapping[str, tuple[str, ...]] = {
    "attacks/test_nginx.py": ("nginx",),
    "conformance": ("nginx", "shellcheck", "socat", AUTOBAHN),
    "integration": ("chromium", "haproxy", "nginx", "node", NODE_MODULES),
    "live": ("chromium", "nginx"),
    "packaging": ("man", "mandoc", "shellcheck", "systemd-analyze"),
    "type_checks": ("node", NODE_MODULES),
}
"""By the path in tests of a folder or a file."""

PLACES = {NODE_MODULES: TESTS.parent / NODE_MODULES, AUTOBAHN: ENVIRONMENT}
"""What is no program in PATH."""


def is_there(name: str) -> bool:
    """Whether something that tests need has been installed."""
    if name in PLACES:
        return PLACES[name].is_dir()
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return shutil.which(name, path=path) is not None


def needed(item: pytest.Item) -> set[str]:
    """What a test needs."""
    found = {name for marker in item.iter_markers("needs") for name in marker.args}
    for place, names in NEEDED.items():
        if item.path.is_relative_to(TESTS / place):
            found.update(names)
    return found


def skip_what_lacks_something(items: list[pytest.Item]) -> None:
    """Mark the tests that need what is not there."""
    if "CI" in os.environ:
        return
    for item in items:
        missing = sorted(name for name in needed(item) if not is_there(name))
        if missing:
            reason = f"needs {', '.join(missing)}: run sh tests/install"
            item.add_marker(pytest.mark.skip(reason=reason))
