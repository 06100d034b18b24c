"""Capabilities, and what a user namespace has."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dorrit.errors import StartError
from dorrit.process.credentials import capabilities

ME = (os.geteuid(), os.getegid(), {os.getegid(), *os.getgroups()})


IMPORTED = "from dorrit.process.credentials.capabilities import *\n"


def run(code: str, *before: str) -> str:
    return subprocess.run(
        [*before, sys.executable, "-c", IMPORTED + code],
        check=True, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip


def test_what_root_lacks_is_seen() -> None:
    assert not any(capabilities.lacks(name) for name in capabilities.NUMBERS)
    lacking = "print([name for name in NUMBERS if lacks(name)])"
    assert (
        run(lacking, "setpriv", "--bounding-set=-chown,-fowner") == "['CAP_CHOWN', 'CAP_FOWNER']\n"
    )


def test_a_user_namespace_has_the_users_that_it_maps() -> None:
    assert capabilities.has_user(65534)
    assert capabilities.has_group(65534)
    assert capabilities.may_set_groups()
    asked = "print(has_user(0), has_user(65534), has_group(0), has_group(1), may_set_groups())"
    assert run(asked, "unshare", "-r") == "True False True False False\n"
    assert run(asked, "unshare", "-U").split()[:4] == ["False"] * 4


def test_without_proc_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert capabilities.has_any() is True
    monkeypatch.setattr(capabilities, "SELF", Path("/nowhere"))
    assert capabilities.has_any() is None
    assert not capabilities.lacks("CAP_CHOWN")
    assert capabilities.has_user(1)
    assert capabilities.may_set_groups()
    capabilities.check_threads(1, 2, {3})


def test_a_thread_of_another_user_or_group_is_named() -> None:
    uid, gid, groups = ME
    capabilities.check_threads(uid, gid, groups)
    for different in ((uid + 1, gid, groups), (uid, gid + 1, groups), (uid, gid, {*groups, 7})):
        with pytest.raises(StartError, match=r"run already: .*MainThread \("):
            capabilities.check_threads(*different)


def test_not_all_of_many_threads_are_named() -> None:
    end = threading.Event()
    threads = [threading.Thread(target=end.wait, name=f"a{number}") for number in range(20)]
    for thread in threads:
        thread.start()
    try:
        with pytest.raises(StartError, match=r"a0 \(\d+\), .* and \d+ more; users, groups"):
            capabilities.check_threads(1, 1, {1})
    finally:
        end.set()
        for thread in threads:
            thread.join()


def test_a_thread_that_is_not_pythons_has_the_name_that_the_system_knows() -> None:
    # As those that BLAS starts when numpy is imported.
    told = run(
        """
import ctypes
c = ctypes.CDLL(None)
thread = ctypes.c_ulong()
begin = ctypes.cast(c.sleep, ctypes.c_void_p)
assert c.pthread_create(ctypes.byref(thread), None, begin, ctypes.c_void_p(600)) == 0
assert c.pthread_setname_np(thread, b"blas") == 0
try:
    check_threads(1, 1, {1})
except StartError as error:
    print(error, flush=True)
os._exit(0)
"""
    )
    assert "blas (" in told
    assert ", not of Python)" in told
