"""The limit of descriptors (R32): raised to fit, or the server says that it can't."""

import re
import resource
import sys
from pathlib import Path

from dorrit.process.start.limits import connections_within
from tests.support.children import run_python

SHOW = """
def show(said):
    print(said, resource.getrlimit(resource.RLIMIT_NOFILE))

"""


def test_R32_a_limit_that_is_high_enough_is_left_as_it_is() -> None:
    told = run_python(
        SHOW
        + """
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
show(limits.raise_descriptor_limit(36))
"""
    )
    assert told == "None (100, 200)\n"


def test_R32_the_soft_limit_is_raised_up_to_the_hard_one_by_anybody() -> None:
    told = run_python(
        SHOW
        + """
become_nobody()
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
show(limits.raise_descriptor_limit(37))
show(limits.raise_descriptor_limit(100, besides=20))
show(limits.raise_descriptor_limit(136))
"""
    )
    assert told == "None (101, 200)\nNone (184, 200)\nNone (200, 200)\n"


CANNOT = (
    "the limit of 200 descriptors is too low for 1000 connections, which need 1084; there will be "
    "136 at the most: raise it (ulimit -n), or lower -m, --max-connections (200, 200)\n"
)

WANT_MORE = (
    SHOW
    + """
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
show(limits.raise_descriptor_limit(1000, besides=20))
"""
)


def test_R32_without_privileges_it_says_that_it_cannot_and_goes_as_far_as_it_can() -> None:
    assert run_python("\nbecome_nobody()\n" + WANT_MORE) == CANNOT


def test_R32_whoever_is_privileged_raises_the_hard_limit() -> None:
    # CAP_SYS_RESOURCE of capabilities(7), number 24, is the privilege. Root in a container often
    # lacks it, and then must be told as everybody else is.
    (capabilities,) = re.findall(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())
    expected = "None (1084, 1084)\n" if int(capabilities, 16) >> 24 & 1 else CANNOT
    assert run_python(WANT_MORE) == expected


def test_R32_what_even_the_kernel_does_not_allow_is_said() -> None:
    told = run_python(
        """
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
        print(limits.raise_descriptor_limit(2**40))
        print(resource.getrlimit(resource.RLIMIT_NOFILE))
        """
    )
    assert told.startswith("the limit of 200 descriptors is too low for 1099511627776 connections")
    assert told.endswith("(200, 200)\n")


def test_of_any_limit_some_descriptors_are_for_other_things_than_connections() -> None:
    said = [connections_within(limit) for limit in (1024, 128, 100, resource.RLIM_INFINITY)]
    assert said == [960, 64, 50, sys.maxsize]
