"""The shipped unit under a real systemd, whatever ends its worker, while clients send."""

import re
from pathlib import Path

import pytest

from dorrit.process.start.workers import OOM_SCORE
from tests.live.systemd_restarts import HANGS, MEMORY, WATCHDOG, WAYS
from tests.live.systemd_unit import Restarted, restarts
from tests.support import systemd, user_mode_linux

TIMES = 5

HEARD = "A process of this unit has been killed by the OOM killer."
"""What systemd says of it."""

SLOW_MACHINE = "MemoryMax=96M\nWatchdogSec=0"
"""There it takes seconds to fill 200 MiB, in which the worker answers nobody."""

pytestmark = pytest.mark.root
nspawn = pytest.mark.needs("systemd-nspawn")


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Restarted:
    """The unit's worker has come to its end in each way, several times."""
    directory = tmp_path_factory.mktemp("systemd")
    return restarts(systemd.boot, directory, TIMES, [*WAYS, WATCHDOG])


@nspawn
def test_L1_systemctl_reload_keeps_every_client_and_the_main_process(restarted: Restarted) -> None:
    restarted.kept_everybody("reloads")
    assert restarted.journal.count(" connections were carried over in ") == TIMES


@nspawn
def test_L3_a_crash_keeps_every_client_the_main_process_and_the_unit_active(
    restarted: Restarted,
) -> None:
    restarted.kept_everybody("crashes")
    assert restarted.journal.count("crashed: ") == TIMES + 1, "that of the one that hung, too"


@nspawn
def test_L4_sigkill_of_the_worker_costs_two_clients_at_the_most(restarted: Restarted) -> None:
    restarted.kept_all_but_two("kills")
    assert restarted.journal.count("killed: SIGKILL; another process goes on") == 2 * TIMES


@nspawn
def test_L4_so_does_the_kernel_that_is_out_of_memory_and_the_unit_stays_active(
    restarted: Restarted,
) -> None:
    restarted.kept_all_but_two(MEMORY)
    assert restarted.shown["killed for memory"] == TIMES, restarted.output
    assert restarted.journal.count("or the kernel for want of memory: see its log") == 2 * TIMES


@pytest.mark.needs("linux.uml")
def test_L4_systemd_hears_that_memory_was_exhausted_and_has_the_unit_go_on(tmp_path: Path) -> None:
    restarted = restarts(user_mode_linux.boot, tmp_path, 2, [MEMORY], SLOW_MACHINE)
    restarted.kept_all_but_two(MEMORY)
    assert restarted.shown["killed for memory"] == 2, restarted.output
    assert restarted.journal.count(HEARD) == 2
    killed = r"Memory cgroup out of memory: Killed process .* oom_score_adj:(\d+)"
    assert re.findall(killed, restarted.journal) == 2 * [str(OOM_SCORE)]


@nspawn
def test_W1_the_kernel_is_to_end_the_worker_and_not_its_supervisor(restarted: Restarted) -> None:
    supervisor, worker = restarted.shown["scores"]
    assert worker == supervisor + OOM_SCORE


@nspawn
def test_L4_a_handler_that_hangs_costs_its_client_and_the_supervisor_ends_the_worker(
    restarted: Restarted,
) -> None:
    found = restarted.shown[HANGS]["found"]
    assert (found["lost"], found["codes"], found["wrong"]) == (0, {}, 0), restarted.output
    assert restarted.journal.count("has not answered for 6 seconds, and is ended") == 1
    assert "numbers.py" in restarted.journal, "where it hung"


@nspawn
def test_W1_a_supervisor_that_hangs_has_the_watchdog_start_the_unit_again(
    restarted: Restarted,
) -> None:
    assert restarted.shown[WATCHDOG] == "1", restarted.output
    assert restarted.journal.count("Watchdog timeout") == 1


@nspawn
def test_the_sandbox_keeps_neither_of_the_two_from_anything(restarted: Restarted) -> None:
    """What they are kept from, they say."""
    warnings = re.findall(r".* WARNING .*", restarted.journal)
    assert [line for line in warnings if "(--slow-handler)" not in line] == []
