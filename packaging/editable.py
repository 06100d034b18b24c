"""Compiles what has changed, and has the virtual environment import the source as it is.

    .venv/bin/python packaging/editable.py

What pip has installed of dorrit, with its build folder kept in build/venv, is replaced by symbolic
links: to the source for Python, to the build folder for what is compiled. docs/design.md says why
this is not ``pip install --editable``. Does nothing where dorrit was installed in another way.
"""

import compileall
import fcntl
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
BUILD: Final = ROOT / "build" / "venv"


def compile_what_has_changed() -> None:
    """Run Ninja, which runs Meson if one of its files has changed.

    Raises:
        SystemExit: It failed, and has said why.
    """
    ninja = Path(sys.executable).with_name("ninja")
    # Cython's and Meson's commands stand beside the interpreter.
    path = f"{ninja.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [ninja, "-C", BUILD, "--quiet"], env=os.environ | {"PATH": path}, check=False
    )
    if done.returncode != 0:
        raise SystemExit(done.returncode)


def wanted() -> Mapping[Path, Path]:
    """Read what Meson would install: where in site-packages, and what is to be there."""
    plan = json.loads((BUILD / "meson-info" / "intro-install_plan.json").read_text())
    return {
        Path(details["destination"]).relative_to("{py_platlib}"): Path(source)
        for kind in ("targets", "python")
        for source, details in plan[kind].items()
        if details["tag"] != "devel"
    }


def link(site: Path, links: Mapping[Path, Path]) -> None:
    """Make the links that are not there, and remove those that are not wanted any more.

    Args:
        site: The directory in which dorrit is installed.
        links: What is to be there.
    """
    for place, source in links.items():
        path = site / place
        if not (path.is_symlink() and path.readlink() == source):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(source)
    for path in (site / "dorrit").rglob("*"):
        if path.is_symlink() and path.relative_to(site) not in links:
            path.unlink()


def record(site: Path, listed: Path, links: Mapping[Path, Path]) -> None:
    """Tell pip's list of files what there is, so that it can be uninstalled, and asked for.

    What the list names of dorrit and is not there any more, such as a module that has been renamed,
    is removed: nobody else would know of it.

    Args:
        site: The directory in which dorrit is installed.
        listed: The list, RECORD.
        links: What of it is linked.
    """
    before = listed.read_text()
    others = []
    for line in before.splitlines():
        place = Path(line.partition(",")[0])
        if place.parts[0] != "dorrit":
            others.append(line)
        elif place not in links:
            (site / place).unlink(missing_ok=True)
    after = "\n".join([*sorted(f"{place},," for place in links), *others, ""])
    if after != before:
        listed.write_text(after)


def compile_python(site: Path) -> None:
    """Write the bytecode of what has changed, as pip does for what it copies.

    Each server would otherwise compile all of dorrit whenever it starts, where
    PYTHONDONTWRITEBYTECODE is set or where it runs as a user who may not write here.

    Args:
        site: The directory in which dorrit is installed.
    """
    # What can't be compiled says so when it is imported.
    compileall.compile_dir(site / "dorrit", quiet=2)


def main() -> None:
    """Do it, once at a time."""
    is_ours = Path(sys.prefix) == ROOT / ".venv"
    if not (is_ours and (BUILD / "build.ninja").exists() and os.access(BUILD, os.W_OK)):
        return
    installed = importlib.metadata.distribution("dorrit")
    site = Path(str(installed.locate_file("")))
    with (BUILD / "editable.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compile_what_has_changed()
        links = wanted()
        link(site, links)
        record(site, site / f"dorrit-{installed.version}.dist-info" / "RECORD", links)
        compile_python(site)


if __name__ == "__main__":
    main()
