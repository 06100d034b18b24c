"""``make conformance``: runs every case, and writes docs/conformance.md if all is as expected."""

import re
import shutil
import subprocess
import sys

from tests.conformance import document, suite
from tests.conformance.expectations import read_exclusions
from tests.conformance.runs import all_columns, run_columns
from tests.integration.processes import find_program

REPORTS = suite.ENVIRONMENT.parent / "reports"

SECONDS = 1800.0
"""When to give up a part. The longest takes some minutes."""


def _versions() -> str:
    said = subprocess.run(
        [find_program("nginx"), "-v"], check=True, capture_output=True, text=True
    ).stderr
    nginx = re.search(r"nginx/([\d.]+)", said)
    assert nginx is not None, said
    return f"autobahntestsuite {suite.version()} and nginx {nginx.group(1)}"


def main() -> int:
    """Run everything; return the exit status."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    columns = all_columns()
    results = run_columns(
        columns, REPORTS, seconds=SECONDS, say=lambda line: print(line, flush=True)
    )
    complaints = [
        f"{column.title}, {complaint}"
        for column in columns
        for complaint in column.mode.expectations.complaints(column.cases, results[column.title])
    ]
    if complaints:
        print(*complaints, f"{len(complaints)} cases ended otherwise; see {REPORTS}", sep="\n")
        return 1
    verdicts = {column.title: column.verdicts(results[column.title]) for column in columns}
    document.FILE.write_text(document.document(_versions(), verdicts, read_exclusions()))
    print(f"all {sum(len(column.cases) for column in columns)} as expected: {document.FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
