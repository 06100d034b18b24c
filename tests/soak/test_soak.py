"""Some rounds of the soak, and faults that it must find. `make soak` takes an hour."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.soak.drive import ROOT, SERVERS
from tests.soak.verdict import LEAST, Sample, faults

MB = 1_000_000


def soak(*options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.soak", "--seed", "1", *map(str, options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_nothing_is_lost_and_nothing_is_left_behind() -> None:
    ran = soak("--rounds", 24)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    first, *table, last = ran.stdout.splitlines()
    assert first == "SEED=1"
    assert last == "Nothing was lost, and nothing is left behind."
    rows = [line.split() for line in table[-len(SERVERS) :]]
    assert [row[1] for row in rows] == list(SERVERS)
    for _, _, clients, messages, _, crashes, *_ in rows:
        assert int(clients) > 1000
        assert int(messages) > 1000
        assert int(crashes) >= 6, "some at the beginning, and some at the end"


@pytest.mark.parametrize(
    ("server", "fault", "found"),
    [
        ("plain", "memory", "blocks of Python's while"),
        ("asynchronous", "descriptor", "descriptors at its end"),
    ],
)
def test_what_a_handler_leaves_behind_is_found(server: str, fault: str, found: str) -> None:
    ran = soak("--rounds", 12, "--server", server, "--fault", fault)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert f"{server}: epoch " in ran.stdout
    assert found in ran.stdout


def test_a_message_that_comes_back_otherwise_is_found() -> None:
    ran = soak("--rounds", 12, "--server", "plain", "--fault", "order")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "was said, and" in ran.stdout


# What is flat


def series(
    count: int = 27, *, resident: int = 0, blocks: int = 0, descriptors: int = 0
) -> list[Sample]:
    """Samples of one image that grows by so much between two of them, while 100 clients come."""
    return [
        Sample(0, 100 * n, 20 * MB + n * resident, 90_000 + n * blocks, 20 + n * descriptors)
        for n in range(count)
    ]


def test_what_stays_is_flat() -> None:
    assert faults(series()) == []


def test_an_arena_that_comes_and_goes_is_flat() -> None:
    samples = series()
    for number in (14, 15, 20, 22, 23, 24):
        samples[number] = samples[number]._replace(resident=32 * MB)
    assert faults(samples) == []


@pytest.mark.parametrize(
    ("growth", "found"),
    [
        ({"resident": 1000 * 1024}, "bytes of memory while 900 clients came"),
        ({"blocks": 100}, "blocks of Python's while 900 clients came"),
        ({"descriptors": 1}, "descriptors at its end"),
    ],
)
def test_what_grows_is_not(growth: dict[str, int], found: str) -> None:
    assert [found in fault for fault in faults(series(**growth))] == [True]


def test_a_ledger_that_keeps_what_it_had_for_many_at_once_is_flat() -> None:
    samples = [s._replace(ledger=5 * MB * (n > 20)) for n, s in enumerate(series())]
    assert faults(samples) == []


def test_a_ledger_that_keeps_more_than_it_may_is_not() -> None:
    samples = [s._replace(ledger=n * MB) for n, s in enumerate(series())]
    assert [fault.partition(" has ")[0] for fault in faults(samples)] == ["the ledger"]


@pytest.mark.parametrize("shape", [[5, 27], [27, 5], [10, 27, 10]])
def test_the_longest_image_is_judged(shape: Sequence[int]) -> None:
    """The others are too short for their caches to be full."""
    samples = []
    for epoch, count in enumerate(shape):
        samples += [s._replace(epoch=epoch) for s in series(count, blocks=100)]
    number = shape.index(27)
    assert [fault.startswith(f"epoch {number}: ") for fault in faults(samples)] == [True]


def test_what_a_crash_leaves_open_is_found() -> None:
    second = [sample._replace(epoch=1, descriptors=21) for sample in series()]
    assert faults([*series(), *second]) == ["epoch 1: +1 descriptors at its end"]


def test_a_run_that_is_too_short_is_not_taken_for_a_good_one() -> None:
    [found] = faults(series(LEAST - 1))
    assert found.endswith("too short to be judged")
