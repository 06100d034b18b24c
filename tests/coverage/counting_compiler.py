"""A C compiler whose programs count: ``counting_compiler.py CC ARGUMENTS -o PROGRAM``.

Each source is compiled by itself, to a name made of all of its path: two of one name, in different
folders, would otherwise have one file of counts.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

COUNTING = [
    "-std=gnu11", "-O0", "-fno-sanitize=all", "--coverage", "-fprofile-abs-path",
    "-include", str(Path(__file__).with_name("counting.h")),
]  # fmt: skip
"""What comes last counts: the code as it is written, without the sanitizers' branches. Only in C as
GNU has it is what has been counted written before exec(3)."""


def main(words: Sequence[str]) -> None:
    """Compile and link; the compiler says itself what it does not like."""
    compiler, *rest, dash_o, program = words
    assert dash_o == "-o"
    sources = [word for word in rest if word.endswith(".c")]
    options = [word for word in rest if word not in sources]
    objects = []
    for source in sources:
        name = f"{program}-{source.strip('/').replace('/', '-').removesuffix('.c')}.o"
        subprocess.run([compiler, *options, *COUNTING, "-c", source, "-o", name], check=True)
        objects.append(name)
    subprocess.run([compiler, *options, *COUNTING, *objects, "-o", program], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
