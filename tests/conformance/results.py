"""What the Autobahn Testsuite found out: its report, read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

SHOWN = ("description", "expectation", "result", "resultClose", "expectedClose", "wirelog")
"""The parts of a case's own report that tell what went wrong."""


@dataclass(frozen=True)
class Result:
    """One case, with the suite's own words for what happened.

    Attributes:
        case: Its name.
        behavior: Whether the messages were as expected: ``OK``, ``NON-STRICT``...
        behavior_close: Whether the connection ended as expected.
        close_code: The code of the server's close frame, if there was one.
        received: How many messages and pongs the suite got, where it counts them.
        closed_by_suite: Whether the suite sent the first close frame.
        milliseconds: How long it took.
        details: More, as text, for whoever has to find the reason.
    """

    case: str
    behavior: str
    behavior_close: str
    close_code: int | None
    received: int
    closed_by_suite: bool
    milliseconds: int
    details: str = ""

    @classmethod
    def read(cls, report: Path, case: str, found: dict[str, Any]) -> Self:
        """Read the report of one case, which the index has ``found``."""
        told = json.loads((report / found["reportfile"]).read_text())
        return cls(
            case=case,
            behavior=found["behavior"],
            behavior_close=found["behaviorClose"],
            close_code=found["remoteCloseCode"],
            received=len(told["received"]),
            closed_by_suite=told["closedByMe"],
            milliseconds=found["duration"],
            details="\n".join(f"    {key}: {json.dumps(told[key])[:2000]}" for key in SHOWN),
        )

    def __str__(self) -> str:
        """Return what happened in a few words."""
        return (
            f"{self.case}: {self.behavior}, closing {self.behavior_close}, "
            f"close code {self.close_code}, {self.milliseconds} ms"
        )


def read_report(report: Path, agent: str) -> dict[str, Result]:
    """Return the results of an agent by the names of the cases."""
    index = json.loads((report / "index.json").read_text())
    return {case: Result.read(report, case, found) for case, found in index.get(agent, {}).items()}
