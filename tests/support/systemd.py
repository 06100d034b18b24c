"""A real systemd: booted in namespaces of its own, with no more of the machine than its /usr."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

TIMEOUT: Final = 120
"""Seconds for all of it."""

BOOT: Final = """
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
for kind in systemd unified memory; do  # control groups of its own, where the machine has such
    group=/sys/fs/cgroup/$kind
    if [ -d $group ]; then
        mkdir -p $group/boot-$$/inner
        echo $$ > $group/boot-$$/inner/cgroup.procs || true
    fi
done
exec systemd-nspawn --quiet --directory=/ --volatile=yes --register=no --keep-unit \
    --private-network --machine=boot$$ "$@" -- /bin/sh -c "$INIT" /usr/lib/systemd/systemd \
    --unit=script.service systemd.firstboot=off systemd.show_status=0
"""

INIT: Final = """
# systemd-nspawn lets nobody write there, but to the groups that have no controller.
if [ -d /sys/fs/cgroup/memory ]; then
    mount -o remount,rw,bind /sys/fs/cgroup/memory
fi
exec "$0" "$@"
"""
"""Comes before systemd, which can limit memory then."""

SCRIPT: Final = """
[Unit]
Description=What the test does
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/bin/sh /test/script > /test/output 2>&1; systemctl --no-block poweroff'
"""


def boot(
    directory: Path,
    script: str,
    *,
    units: Mapping[str, str],
    files: Mapping[str, Path],
    folders: tuple[Path, ...] = (),
) -> str:
    """Boot it, run a shell script as root, and power it off; return what the script has printed.

    Args:
        directory: An empty one, which is /test there.
        script: What is run when systemd has come up as far as that.
        units: Unit files, by their paths below /etc/systemd/system.
        files: Files of this machine that are there, read-only, by their paths there.
        folders: Folders that are there, read-only, under the same paths.
    """
    (directory / "script").write_text(script)
    options = [f"--bind={directory}:/test", "--tmpfs=/usr/local"]
    for number, (name, text) in enumerate([("script.service", SCRIPT), *units.items()]):
        unit = directory / f"unit{number}"
        unit.write_text(text)
        options.append(f"--bind-ro={unit}:/etc/systemd/system/{name}")
    options += [f"--bind-ro={file}:{place}" for place, file in files.items()]
    options += [f"--bind-ro={folder}" for folder in folders]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", BOOT, "sh", *options]
    with subprocess.Popen(
        command,
        env=os.environ | {"INIT": INIT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            said, _ = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    _remove_groups(process.pid)
    output = directory / "output"
    assert output.exists(), said.decode(errors="replace")
    return output.read_text()


def _remove_groups(number: int) -> None:
    """Remove the control groups that have been made for one."""
    for group in Path("/sys/fs/cgroup").glob(f"*/boot-{number}"):
        below = [entry for entry in group.rglob("*") if entry.is_dir()]
        for folder in (*sorted(below, reverse=True), group):
            folder.rmdir()
