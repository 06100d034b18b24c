"""Rounds into medians, ratios, tables and JSON."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from benchmarks.measure import Round
from benchmarks.scenarios import BARE, BEFORE, LIMITS, PEER, Scenario

Rounds = Mapping[str, Sequence[Round]]
"""The rounds of one scenario, for each server by its name; round i of all was run in turn."""


def ratio(rounds: Rounds, name: str, reference: str) -> float | None:
    """Server CPU for each message of ``name`` over that of ``reference``.

    The median of the ratios within each turn: a disturbance that lasts longer than a round hits
    both alike. ``None`` if either of them is missing.
    """
    if not rounds.get(name) or not rounds.get(reference):
        return None
    return median(
        one.microseconds_per_message / other.microseconds_per_message
        for one, other in zip(rounds[name], rounds[reference], strict=True)
    )


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def scenario_title(scenario: Scenario) -> str:
    """Say in one line what the load was."""
    what = f"{scenario.size:,} bytes, {scenario.connections:,} connections"
    if scenario.senders:
        return f"{scenario.name}: {scenario.senders} send to all; {what}, {scenario.in_flight} each"
    return f"{scenario.name}: echo of {what}, {scenario.in_flight} in flight on each"


def table(scenario: Scenario, rounds: Rounds) -> str:
    """Lay out the results of one scenario for reading."""
    heading = (
        f"  {'server':<21}{'CPU µs/message':>15}{'(min-max)':>17}{'x bare C':>10}{'x picows':>10}"
        f"{'messages/s':>13}{'server busy':>13}{'client busy':>13}{'others':>8}"
    )
    lines = [scenario_title(scenario), heading]
    for name, results in rounds.items():
        costs = [result.microseconds_per_message for result in results]
        spread = f"({min(costs):.3f}-{max(costs):.3f})"
        lines.append(
            f"  {name:<21}{median(costs):>15.3f}{spread:>17}"
            f"{_times(ratio(rounds, name, BARE)):>10}{_times(ratio(rounds, name, PEER)):>10}"
            f"{median(result.messages_per_second for result in results):>13,.0f}"
            f"{median(result.server_busy for result in results):>13.0%}"
            f"{median(result.client_busy for result in results):>13.0%}"
            f"{median(result.others_busy for result in results):>8.0%}"
        )
    return "\n".join(lines)


def check(results: Mapping[str, Rounds]) -> str:
    """Put the limits beside what was measured; for information, nothing depends on it."""
    lines = ["Limits (server CPU for each message):"]
    for limit in LIMITS:
        measured = ratio(results.get(limit.scenario.name, {}), limit.server, limit.reference)
        if measured is None and (limit.reference == BEFORE or limit.scenario.name not in results):
            continue  # nobody asked for it
        claim = f"{limit.server} takes at most {limit.at_most:.2f} x {limit.reference}"
        met = measured is not None and measured <= limit.at_most
        verdict = "not measured" if measured is None else "met" if met else "not met"
        lines.append(f"  {limit.scenario.name:<14}{claim:<53}{_times(measured):>8}  {verdict}")
    return "\n".join(lines)


def environment() -> dict[str, str]:
    """Collect what the figures depend on: processor, kernel, interpreter, versions."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    facts = {
        "processor": f"{model}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    for package in ("dorrit", "picows", "aiofastnet", "uvloop", "aiohttp", "websockets"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def as_json(
    scenarios: Sequence[Scenario], results: Mapping[str, Rounds], missing: Mapping[str, str]
) -> dict[str, object]:
    """Everything that was measured, each round by itself."""
    return {
        "environment": environment(),
        "unavailable": dict(missing),
        "scenarios": [
            {
                **asdict(scenario),
                "servers": {
                    name: {
                        "server_microseconds_per_message": median(
                            one.microseconds_per_message for one in rounds
                        ),
                        "messages_per_second": median(one.messages_per_second for one in rounds),
                        "ratio_to_bare": ratio(results[scenario.name], name, BARE),
                        "ratio_to_picows_uvloop": ratio(results[scenario.name], name, PEER),
                        "rounds": [asdict(one) for one in rounds],
                    }
                    for name, rounds in results[scenario.name].items()
                },
            }
            for scenario in scenarios
        ],
    }
