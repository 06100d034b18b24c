"""``python -m benchmarks``: run from the root of the project."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import report
from benchmarks.contenders import (
    Contender,
    Server,
    UnavailableError,
    echo_contenders,
    fan_out_contenders,
    running,
)
from benchmarks.measure import Round, RoundFailedError, run_round
from benchmarks.revisions import UnknownRevisionError, site_of
from benchmarks.scenarios import FURTHER, REQUIRED, Scenario

WARM_UP_SECONDS = 0.1

# Many short rounds rather than a few long ones: the median then forgets more of the disturbances.
ROUNDS, ROUND_SECONDS = 13, 0.8
FURTHER_ROUNDS, QUICK_ROUNDS, SHORT_ROUND_SECONDS = 5, 7, 0.5


def _cores() -> tuple[int | None, int | None]:
    """Choose a processor for the server and one for the client; ``None`` if there is but one."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[-1], cores[0]) if len(cores) > 1 else (None, None)


def _start_all(
    contenders: Sequence[Contender], folder: Path, core: int | None, stack: ExitStack
) -> tuple[list[Server], dict[str, str]]:
    servers = []
    missing = {}
    for contender in contenders:
        try:
            servers.append(stack.enter_context(running(contender, folder, core)))
        except UnavailableError as error:
            missing[contender.name] = str(error)
    return servers, missing


def run_scenario(
    scenario: Scenario, contenders: Sequence[Contender], rounds: int, seconds: float
) -> tuple[dict[str, list[Round]], dict[str, str]]:
    """Measure every server in turn, ``rounds`` times over, for ``seconds`` each.

    All servers run all the time; the idle ones sleep. Each turn starts with another server, so
    that none always comes first.

    Returns:
        The rounds of each server that took part, and the reason for each that did not.
    """
    server_core, client_core = _cores()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers, missing = _start_all(contenders, Path(folder), server_core, stack)
        results: dict[str, list[Round]] = {server.name: [] for server in servers}
        for turn in range(rounds):
            first = turn % max(1, len(servers))
            for server in servers[first:] + servers[:first]:
                if server.name in missing:
                    continue
                try:
                    measured = run_round(server, scenario, seconds, WARM_UP_SECONDS, client_core)
                except RoundFailedError as error:
                    missing[server.name] = str(error)
                    del results[server.name]
                else:
                    results[server.name].append(measured)
        return results, missing


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare WebSocket servers: server CPU for each message, and throughput.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="the required scenarios only, short rounds"
    )
    parser.add_argument("--check", action="store_true", help="print the limits beside the results")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to FILE")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns for each scenario")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of a round")
    parser.add_argument(
        "--scenario", action="append", metavar="NAME", help="only this one (repeat)"
    )
    parser.add_argument(
        "--against", metavar="REV", help="also dorrit as it was at this git revision"
    )
    parser.add_argument("--server", action="append", metavar="NAME", help="only this one (repeat)")
    return parser.parse_args()


def main() -> int:
    """Run what the command line asks for. The exit status says nothing about the speed."""
    arguments = _arguments()
    try:
        before = None if arguments.against is None else site_of(arguments.against)
    except UnknownRevisionError as error:
        print(error, file=sys.stderr)
        return 2
    scenarios = [
        scenario
        for scenario in (REQUIRED if arguments.quick else REQUIRED + FURTHER)
        if not arguments.scenario or scenario.name in arguments.scenario
    ]
    for fact, value in report.environment().items():
        print(f"{fact}: {value}")
    if _cores() == (None, None):
        print("only one processor: server and client share it, so do not trust the figures")

    results: dict[str, dict[str, list[Round]]] = {}
    missing: dict[str, str] = {}
    for scenario in scenarios:
        thorough = scenario in REQUIRED and not arguments.quick
        fewer_rounds = QUICK_ROUNDS if arguments.quick else FURTHER_ROUNDS
        results[scenario.name], absent = run_scenario(
            scenario,
            [
                contender
                for contender in (
                    fan_out_contenders() if scenario.senders else echo_contenders(before)
                )
                if not arguments.server or contender.name in arguments.server
            ],
            rounds=arguments.rounds or (ROUNDS if thorough else fewer_rounds),
            seconds=arguments.seconds or (ROUND_SECONDS if thorough else SHORT_ROUND_SECONDS),
        )
        print("\n" + report.table(scenario, results[scenario.name]), flush=True)
        for name, reason in absent.items():
            print(f"  {name:<21}not measured: {reason}")
        missing |= {f"{scenario.name}, {name}": reason for name, reason in absent.items()}
    if arguments.check:
        print("\n" + report.check(results))
    if arguments.json is not None:
        document = report.as_json(scenarios, results, missing)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
