"""A server whose memory is overwritten before it crashes: nobody gets what is another's."""

from pathlib import Path
from typing import Any

import pytest

from tests.live.numbers import OVERWRITE
from tests.live.overwriting import LIBRARY
from tests.live.server import HERE, SERVERS, newcomer, serving
from tests.live.traffic import compiled, traffic
from tests.support.servers import Run, until

CLIENTS = 48
SEEDS = {"five functions": range(10), "async handlers": range(10, 20)}


@pytest.fixture(params=SERVERS, scope="module")
def server(request: pytest.FixtureRequest) -> str:
    """The name of a server that can overwrite its memory."""
    compiled(HERE / "overwrite.c", LIBRARY.name, "-shared", "-fPIC")
    name: str = request.param
    return name


def overwritten(run: Run, what: str, seed: int) -> dict[str, Any]:
    """Have memory overwritten and the server crash; return what clients find that send meanwhile.

    None of them may get what is not its own, and the server serves on.

    Args:
        run: The server.
        what: "heap", or "ledger".
        seed: What is overwritten, and by what, depends on it.
    """
    crashes = run.err.count("crashed: ")
    with traffic(str(run.path), "/x", CLIENTS) as sent, newcomer(run.path) as culprit:
        culprit.send(OVERWRITE + f"{what} {seed}".encode())
        # The record of who has caused it may be gone, and nobody tell that client anything.
        until(
            lambda: run.err.count("crashed: ") > crashes or run.process.poll() is not None,
            "the next image",
        )
        assert run.process.poll() is None, run.err
        with newcomer(run.path):
            found = sent.end()
    assert found["wrong"] == 0, run.err
    return found


def test_L3_an_overwritten_heap_costs_nobody_but_who_has_caused_the_crash(
    directory: Path, server: str
) -> None:
    with serving(directory, HERE / SERVERS[server], "--rfc") as run:
        for seed in SEEDS[server]:
            found = overwritten(run, "heap", seed)
            assert (found["lost"], found["codes"]) == (0, {}), (seed, run.err)


def test_L8_of_an_overwritten_ledger_nobody_gets_what_is_anothers(
    directory: Path, server: str
) -> None:
    lost = []
    for seed in SEEDS[server]:
        with serving(directory, HERE / SERVERS[server], "--rfc") as run:
            lost.append(overwritten(run, "ledger", seed)["lost"])
    # Some have been hit, and others live on.
    assert min(lost) < CLIENTS / 2
    assert max(lost) > 0
