"""The ordinary start of a server, in the order of libdorrit(3)."""

import logging
import os

from dorrit.drive.running import run
from dorrit.drive.server_process import ServerProcess
from dorrit.drive.supervision import become_worker
from dorrit.errors import StartError
from dorrit.process.crash.starting import Guard
from dorrit.process.credentials import privileges
from dorrit.process.credentials.privileges import Identity
from dorrit.process.fork import children, daemon
from dorrit.process.log.log import NO_SYSLOG
from dorrit.process.start.resources import ResourcePlan, Resources

logger: logging.Logger = logging.getLogger("dorrit")


def start(process: ServerProcess) -> int:
    """Start in this order: options, ws_init_func, files, daemon, privileges, listening.

    libdorrit(3): "Dorrit calls ws_init_func() ... before attempting to change the server's user and
    group ... before the server becomes a daemon and starts listening for connections."

    Returns:
        The exit status, when the server has ended.
    """
    process.guard = guard = Guard()
    process.made.callback(guard.close)
    process.load()
    process.is_daemon = not process.settings.foreground
    identity = privileges.resolve(process.settings.user, process.settings.group)
    process.init()
    try:
        with process.starting():
            _start(process, guard, identity)
    except StartError as error:
        _tell(process, error)
        raise
    finally:
        status = process.exit()
    return status


def _start(process: ServerProcess, guard: Guard, identity: Identity) -> None:
    process.handlers.install(daemon=False)
    if process.settings.log is not None:
        process.log.use_file(process.settings.log, identity)
    process.prepare_limits(identity)
    plan = ResourcePlan(
        name=process.application.name,
        listen=process.settings.listen,
        given=process.launch.given,
        identity=identity,
        command=process.launch.command if process.is_daemon else None,
    )
    resources = Resources(plan)
    process.hold(resources)
    if process.is_daemon:
        _detach(process, guard, resources)
    _drop(guard, resources, identity)
    handover = resources.handover()
    if _wants_supervisor(process):
        become_worker(process, resources, identity)
    run(process, identity, handover)


def _wants_supervisor(process: ServerProcess) -> bool:
    settings = process.settings
    if settings.supervise is None:
        return process.is_daemon and not settings.no_restart
    return settings.supervise


def _tell(process: ServerProcess, error: StartError) -> None:
    """Have the command say why its daemon can't start, if this is one; then exit."""
    if process.readiness is None:
        return
    process.log.leave_terminal()  # where the command is about to say it
    logger.error("%s", error)
    process.readiness.failed(str(error), error.status)
    raise SystemExit(error.status) from None


def _detach(process: ServerProcess, guard: Guard, resources: Resources) -> None:
    """Become a daemon (R22). Only that returns."""
    if process.settings.log is None and not process.log.use_syslog(resources.name):
        logger.warning("%s", NO_SYSLOG)
    guard.forget()  # the command is not what has made them
    process.readiness = daemon.detach()
    guard.watch(resources.paths)
    children.hold(process.readiness)
    process.steps.own()
    resources.own()
    process.handlers.install(daemon=True)
    process.launch.inherited.close()


def _drop(guard: Guard, resources: Resources, identity: Identity) -> None:
    """Give up root's privileges (R26); what takes them at the end is left to a janitor."""
    if os.geteuid() == 0 and identity.uid != 0:
        janitor = resources.start_janitor()
        guard.watch(resources.paths, janitor.descriptor)
    privileges.drop(identity)
