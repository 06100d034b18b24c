"""How the tests are spread over the processes that run them (pytest-xdist)."""

import os

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

BUSY = (
    "tests/test_variants.py",
    "tests/test_coverage.py",
    "tests/test_install.py",
    "tests/conformance/test_autobahn.py",
)
"""Files whose tests take a minute or more each, and a processor all the time; the longest first."""

PER_PROCESSOR = 3
"""Processes: most tests wait most of the time."""


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes() -> int:
    """How many run at a time."""
    return PER_PROCESSOR * processors()


class ByFile(LoadScopeScheduling):
    """A process gets a file at a time, whose tests share fixtures; of the busy ones, a test.

    One busy test for each processor runs from the beginning, as long as there are any, and those
    that wait run beside them.
    """

    def __init__(self, config: pytest.Config, log: object) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        file: str = nodeid.partition("::")[0]
        return nodeid if file in BUSY else file

    def remove_node(self, node: WorkerController) -> str | None:
        """Take a process out; return the test that it was in, which is not run again."""
        for tests in self.assigned_work[node].values():
            for name, has_ended in tests.items():
                if not has_ended:
                    tests[name] = True
                    super().remove_node(node)
                    return str(name)
        super().remove_node(node)
        return None

    def _reschedule(self, node: WorkerController) -> None:
        # Of several that have taken the place of processes that crashed, one is ready first.
        if node in self.registered_collections:
            super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        busy = sum(
            "::" in scope and not all(tests.values())
            for assigned in self.assigned_work.values()
            for scope, tests in assigned.items()
        )
        wanted = [scope for scope in self.workqueue if ("::" in scope) == (busy < processors())]
        if busy < processors():
            wanted.sort(key=lambda scope: BUSY.index(scope.partition("::")[0]))
        if wanted:
            self.workqueue.move_to_end(wanted[0], last=False)
        super()._assign_work_unit(node)
