"""Other versions of dorrit: built on first use, each into a folder of its own under ``build/``."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.programs import ROOT

FOLDER = ROOT / "build" / "revisions"


class UnknownRevisionError(Exception):
    """git knows no such revision."""


def site_of(revision: str) -> Path:
    """Return a folder with the package as it was at a revision, built for this interpreter.

    What it needs to be built, as for the tree itself, is installed already.

    Raises:
        UnknownRevisionError: There is no such revision.
        subprocess.CalledProcessError: It can't be built; what is wrong is on stderr.
    """
    parsed = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if parsed.returncode != 0:
        raise UnknownRevisionError(f"git knows no revision {revision}")
    commit = parsed.stdout.strip()
    folder = FOLDER / f"{commit[:12]}-{sys.implementation.cache_tag}"
    site, built = folder / "site", folder / "built"
    if not built.exists():
        source = folder / "source"
        source.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, check=True)
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
                *("--no-build-isolation", "--upgrade", "--target", site, source),
            ],
            check=True,
            env=_environment(),
        )
        built.touch()
    return site


def _environment() -> dict[str, str]:
    """The build runs programs (meson, ninja, cython) that lie beside the interpreter."""
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    )
    return environment
