"""A real systemd on a Linux of its own, a process of this machine: it has all control groups.

User-mode Linux, Debian's package user-mode-linux. The kernel of this machine may have given its
controllers to the old hierarchies, of which systemd hears nothing when memory is exhausted.
"""

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support import proc
from tests.support.systemd import SCRIPT

TIMEOUT: Final = 150
"""Seconds for all of it."""

MEMORY: Final = "1024M"
"""What the machine has; as much as it uses of that is taken from this one."""

INIT: Final = """\
#!/bin/sh
# The first process, with the files of this machine, read-only, in its root.
set -eu
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
cd /mnt
mkdir dev etc home old proc root run sys test tmp usr var
ln -s usr/bin usr/lib usr/lib32 usr/lib64 usr/sbin .
cp -r /etc/alternatives /etc/ld.so.cache etc
: > etc/machine-id
mount --bind /usr usr
mount -t tmpfs tmpfs usr/local
mount -t devtmpfs devtmpfs dev
mount -t hostfs -o "$TEST" none test
. "$TEST/places"
umount /proc
pivot_root . old
exec chroot . /usr/lib/systemd/systemd
"""

KERNEL: Final = (
    "root=/dev/root rootfstype=hostfs rootflags=/ ro con=null con0=null,fd:1 panic=1 "
    "systemd.unit=script.service systemd.unified_cgroup_hierarchy=1 systemd.firstboot=off "
    "systemd.show_status=0"
)


def boot(
    directory: Path,
    script: str,
    *,
    units: Mapping[str, str],
    files: Mapping[str, Path],
    folders: tuple[Path, ...] = (),
) -> str:
    """Do what `tests.support.systemd.boot` does."""
    (directory / "script").write_text(script)
    places = []
    for number, (name, text) in enumerate([("script.service", SCRIPT), *units.items()]):
        unit = directory / f"unit{number}"
        unit.write_text(text)
        places.append(_copied(unit, f"/etc/systemd/system/{name}"))
    places += [_copied(file, place) for place, file in files.items()]
    for folder in folders:
        words = shlex.quote(str(folder)), shlex.quote(f".{folder}")
        places.append(f"mkdir -p {words[1]}\nmount --bind {words[0]} {words[1]}\n")
    (directory / "places").write_text("".join(places))
    init = directory / "init"
    init.write_text(INIT)
    init.chmod(0o755)
    command = ["linux.uml", f"mem={MEMORY}", f"uml_dir={directory}/uml", *KERNEL.split()]
    command += [f"init={init}", f"TEST={directory}"]
    console = directory / "console"
    with console.open("wb") as file:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(TIMEOUT)
        finally:
            proc.end_group(process)
    output = directory / "output"
    assert output.exists(), console.read_text(errors="replace")
    return output.read_text()


def _copied(file: Path, place: str) -> str:
    """What the first process does to have a file of this machine."""
    target = Path(f".{place}")
    words = (shlex.quote(str(word)) for word in (target.parent, file, target))
    return "mkdir -p {}\ncp {} {}\n".format(*words)
