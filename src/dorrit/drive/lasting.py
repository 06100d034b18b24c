"""What of a server stays as it is when it is reloaded, and so must not differ in the new code."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from dorrit.drive.application import Application
from dorrit.errors import StartError
from dorrit.process.credentials.privileges import group_number, user_number
from dorrit.settings import Settings

NAMES: Final = {
    "name": "name",
    "listen": "socket",
    "user": "user",
    "group": "group",
    "supervise": "supervisor",
}
"""The facts, and what they are called in the log."""

_ON_OR_OFF: Final = {True: "on", False: "off"}


def lasting_facts(application: Application, settings: Settings) -> dict[str, str | None]:
    """Return what a reload can't change, as far as it is known without ``ws_init_func``.

    Args:
        application: The server's code.
        settings: What it is run with.
    """
    return {
        "name": application.name,
        "listen": settings.listen,
        "user": settings.user,
        "group": settings.group,
        "supervise": None if settings.supervise is None else _ON_OR_OFF[settings.supervise],
    }


def difference(
    now: Mapping[str, Any], new: Mapping[str, Any], *, is_supervised: bool
) -> str | None:
    """Return in one line what differs; None: nothing does.

    Args:
        now: What the server is.
        new: What its new code would be.
        is_supervised: It has a supervisor, which it may have got without being told.
    """
    for fact, name in NAMES.items():
        before = now.get(fact)
        if fact == "supervise" and new.get(fact) != before:
            if new.get(fact) is None:
                continue  # it stays as it is
            before = _ON_OR_OFF[is_supervised]
        if fact in new and not _is_same(fact, before, new[fact]):
            return (
                f"the {name} would be {_said(new[fact])} and not {_said(before)}, for which "
                "it has to be stopped and started"
            )
    return None


def _is_same(fact: str, now: object, new: object) -> bool:
    if now == new:
        return True
    if fact in {"user", "group"} and isinstance(now, str) and isinstance(new, str):
        with suppress(StartError):  # one that does not exist is another one
            if fact == "user":
                return user_number(now, "-u") == user_number(new, "-u")
            return group_number(now) == group_number(new)
    return False


def _said(value: object) -> str:
    return "the default" if value is None else str(value)
