"""The start of a supervisor: the process becomes it, and a child of it the first worker."""

import logging
import os
import signal
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Final

import dorrit.version
from dorrit.drive.server_process import ServerProcess
from dorrit.drive.supervisor_image import WORKER
from dorrit.drive.worker import FirstReadiness, Worker, supervised_settings
from dorrit.errors import StartError
from dorrit.process.control.notify import Notifier
from dorrit.process.crash import restart
from dorrit.process.credentials import privileges
from dorrit.process.credentials.privileges import Identity
from dorrit.process.exec.command import Command
from dorrit.process.exit.status import end
from dorrit.process.fork import children, daemon
from dorrit.process.start.resources import READINESS, Resources, ResourcesOfSupervisor
from dorrit.process.start.workers import WorkerFiles, raise_oom_score

logger: logging.Logger = logging.getLogger("dorrit")

MODULE: Final = "dorrit.drive.supervisor"
"""What the supervisor's image runs."""


def become_worker(process: ServerProcess, resources: Resources, identity: Identity) -> None:
    """Go on as the first worker of a supervisor, which this process becomes: its child returns.

    Where the supervisor can't be run, as its user can't read Python, there is none. The log says so
    if somebody has asked for one; otherwise it says only that a crash can't be followed by a
    restart, which has the same reason (`ServerProcess.arm`).

    Args:
        process: Has all that it wants from root.
        resources: What it holds in the file system, which is the supervisor's then.
        identity: Who it is by now.
    """
    command = _command_of_supervisor(process)
    if obstacles := command.obstacles():
        if process.settings.supervise is not None:
            logger.warning("the server has no supervisor: %s", obstacles[0])
        return
    if threading.active_count() > 1:
        logger.warning(
            "threads that ws_init_func has started end when the server gets a supervisor: fork(2) "
            "copies only the thread that calls it; start them later"
        )
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        files, ours = WorkerFiles.new()
        pid = _fork()
    except OSError as error:
        raise StartError(f"can't have a supervisor: {error.strerror}") from None
    if pid != 0:
        os.close(files.channel)
        _become_supervisor(process, resources, identity, command, pid, files._replace(channel=ours))
    os.close(ours)
    resources.let_go()
    process.resources = ResourcesOfSupervisor(resources.name, resources.path)
    process.launch.notifier.close()
    process.launch = process.launch._replace(notifier=Notifier())
    process.steps.own()
    process.steps.clean_by(process.resources.close)
    process.worker = Worker(files, lambda: process.handlers.reloads)
    process.handlers.install(daemon=True)
    raise_oom_score()
    if process.readiness is not None:
        process.readiness.let_go()
        process.readiness = FirstReadiness(process.worker)


def _fork() -> int:
    with children.heirs(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _command_of_supervisor(process: ServerProcess) -> Command:
    command = process.launch.command
    package = str(Path(dorrit.version.__file__).parents[1])
    environment = [
        variable for variable in command.environment if not variable.startswith(b"PYTHONPATH=")
    ]
    environment.append(b"PYTHONPATH=" + os.fsencode(package))
    return command._replace(
        arguments=("-P", "-m", MODULE, process.application.name or "dorrit"),
        environment=tuple(environment),
        directory="/",
        umask=daemon.UMASK if process.is_daemon else command.umask,
        files=(str(Path(package, "dorrit", "__init__.py")), os.__file__),
    )


def _become_supervisor(  # noqa: PLR0917 - it is all that there is
    process: ServerProcess,
    resources: Resources,
    identity: Identity,
    command: Command,
    pid: int,
    files: WorkerFiles,
) -> None:
    """Run the supervisor's image in this process."""
    settings = process.settings
    handover = resources.handover()
    kept = {WORKER + what: number for what, number in files._asdict().items()}
    if process.readiness is not None:
        kept[READINESS] = process.readiness.descriptor
    supervised = {
        "pid": pid,
        "command": process.launch.command.as_json(),
        "notify": process.launch.notifier.address,
        "watchdog": process.launch.notifier.watchdog,
        "user": identity.user or str(identity.uid),
        "group": privileges.group_name(identity.gid),
        "log": settings.log,
        "log_level": settings.log_level,
        "log_format": settings.log_format,
        "settings": supervised_settings(settings)._asdict(),
    }
    descriptor, prefix = process.log.crash_report()
    try:
        restart.be_replaced(
            replace(handover, kept={**handover.kept, **kept}, supervised=supervised),
            command,
            catches=False,
            report=descriptor,
            prefix=prefix,
        )
        restart.replace_now()
        reason = "the log says why"
    except OSError as error:
        reason = str(error.strerror)
    # Nothing of the server has begun; what has been made goes.
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if process.readiness is not None:
        process.readiness.failed(f"the supervisor can't be run: {reason}")
    logger.error("the supervisor can't be run: %s", reason)
    resources.close()
    end(1)
