"""One round: the client's load on one server, and what it cost."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Server
from benchmarks.programs import program
from benchmarks.scenarios import Scenario

# After the last message has come back the server still has the end of its loop to run.
SETTLE_SECONDS = 0.01

# More than any server manages in the seconds that it has; a bound for the load all the same.
MESSAGES_MAX = 100_000_000

# What a client may take beyond its own seconds: connecting, emptying what is in flight.
TIMEOUT_SECONDS = 60.0


class RoundFailedError(Exception):
    """The client gave up: the server answered wrongly, or not at all."""


@dataclass(frozen=True)
class Round:
    """What one round measured.

    Attributes:
        messages: frames that the clients received.
        seconds: the window, by the client's clock.
        server_nanoseconds: CPU time of the server in it, all threads, user and kernel.
        client_nanoseconds: CPU time of the client in it.
        others_nanoseconds: what anything else, the hypervisor's other guests included, took of the
            processors meanwhile; it has the grain of the kernel's tick (10 ms, mostly).
    """

    messages: int
    seconds: float
    server_nanoseconds: int
    client_nanoseconds: int
    others_nanoseconds: int

    @property
    def microseconds_per_message(self) -> float:
        """Server CPU, in µs for each message."""
        return self.server_nanoseconds / self.messages / 1000

    @property
    def messages_per_second(self) -> float:
        """Throughput."""
        return self.messages / self.seconds

    @property
    def server_busy(self) -> float:
        """Part of the window that the server spent on its processor, 0 to 1."""
        return self.server_nanoseconds / 1e9 / self.seconds

    @property
    def client_busy(self) -> float:
        """Part of the window that the client spent on its processor, 0 to 1."""
        return self.client_nanoseconds / 1e9 / self.seconds

    @property
    def others_busy(self) -> float:
        """Processors that were busy with anything else, on average; near 0 on a quiet machine."""
        return self.others_nanoseconds / 1e9 / self.seconds


def cpu_nanoseconds(pid: int) -> int:
    """CPU time of a process so far, all its threads, user and kernel, in ns.

    The first field of ``schedstat`` is "time spent on the cpu (in nanoseconds)" (Linux,
    ``Documentation/scheduler/sched-stats.rst``). It is exact while the thread sleeps, which is why
    it is read only when nothing is in flight.
    """
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())


def machine_nanoseconds() -> int:
    """Time that the processors, all together, did not stand idle, stolen time included, in ns.

    From the first line of ``/proc/stat``, whose unit is the tick (``proc_stat(5)``).
    """
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_guest = (
        int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    ticks = user + nice + system + irq + softirq + steal
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def run_round(
    server: Server, scenario: Scenario, seconds: float, warm_up: float, core: int | None
) -> Round:
    """Connect, warm up, measure for ``seconds``, disconnect.

    Raises:
        RoundFailedError: the client ended with an error.
    """
    command = [
        *(str(program("client")), "-c", str(scenario.connections), "-k", str(scenario.in_flight)),
        *("-s", str(scenario.size), "-w", str(warm_up), "-t", str(seconds)),
        *("-m", str(MESSAGES_MAX)),
        *(("-f", str(scenario.senders)) if scenario.senders else ()),
        str(server.path),
    ]
    affinity = os.sched_getaffinity(0) if core is None else {core}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, affinity),  # noqa: PLW1509 (one thread)
    ) as client:
        if client.stdin is None or client.stdout is None or client.stderr is None:
            raise RoundFailedError("the client has no pipes")
        try:
            if client.stdout.readline() != "ready\n":
                raise RoundFailedError(client.stderr.read().strip())
            time.sleep(SETTLE_SECONDS)
            server_before = cpu_nanoseconds(server.pid)
            machine_before = machine_nanoseconds()
            client_before = cpu_nanoseconds(client.pid)
            client.stdin.write("\n")
            client.stdin.flush()
            # Its last line comes while the client is alive, so that its own clock can be read.
            line = client.stdout.readline()
            if not line:
                raise RoundFailedError(client.stderr.read().strip())
            time.sleep(SETTLE_SECONDS)
            server_after = cpu_nanoseconds(server.pid)
            client_after = cpu_nanoseconds(client.pid)
            machine_after = machine_nanoseconds()
            client.stdin.close()
            client.wait(TIMEOUT_SECONDS)
        finally:
            client.kill()
    result = json.loads(line)
    ours = server_after - server_before + client_after - client_before
    return Round(
        messages=result["deliveries"],
        seconds=result["seconds"],
        server_nanoseconds=server_after - server_before,
        client_nanoseconds=client_after - client_before,
        others_nanoseconds=max(0, machine_after - machine_before - ours),
    )
