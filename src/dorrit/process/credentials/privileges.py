"""The user and the group that the server runs as (R26, R33).

What the kernel does besides, when root gives up its user id, and what is left to it on purpose: on
Linux the process becomes undumpable (PR_SET_DUMPABLE of prctl(2)), so /proc/PID and what is in it
belong to root, nobody but root can trace it, and a crash leaves no core file. That is wanted: its
memory may hold what root has read, and its descriptors what root has opened. execv(2) of a program
that the user can read makes it dumpable again, and forgets that memory.
"""

import grp
import os
import pwd
import sys
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from dorrit.errors import StartError
from dorrit.process.credentials import capabilities
from dorrit.process.credentials.capabilities import Capabilities, check_threads, has_any

NOBODY: Final = "nobody"
"""Both defaults when started as root."""

LARGEST: Final = 2**32 - 2
"""The largest user or group id. One more is (uid_t)-1, by which setresuid(2) means no change."""


class Identity(NamedTuple):
    """Who the server is once privileges are dropped.

    Attributes:
        uid: User id.
        gid: Group id.
        groups: All group ids, `gid` first: the supplementary ones are those of the user.
        user: The user's name, or None if that id has none.
        home: The user's home directory, or None if the id has no name.
        socket_group: The group that was named for the socket, or None. Who is not root can give it
            to any group that he is in.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    user: str | None
    home: str | None
    socket_group: int | None = None

    @property
    def warning(self) -> str | None:
        """What the administrator should be told, or None."""
        if self.uid != 0:
            return None
        return "the server runs as root: whoever takes it over has the machine; choose a user (-u)"


def resolve(user: str | None, group: str | None) -> Identity:
    """Find out who to run as.

    A word is taken as a name if there is such a name, and else as a number, as chown(1) does.
    Started as root, both default to ``nobody``; where no group has that name (Debian calls it
    ``nogroup``), to the primary group of the user ``nobody``. Root itself may be chosen with
    ``-u``; see `Identity.warning`. Started by another user, both default to the current ones; the
    group may be any that this user is in, and then is the socket's.

    The user id 0 need not have any privilege. What is not to be changed takes none.

    Args:
        user: The value of ``-u``, or None.
        group: The value of ``-g``, or None.

    Raises:
        StartError: There is no such user or group, or it is another one than the current and the
            process is not root, or root without the capabilities for it.
    """
    if os.geteuid() != 0:
        return _current(user, group)
    uid, entry = _user(NOBODY if user is None else user)
    gid = _default_group() if group is None else _group(group)
    named = None if group is None else gid
    if entry is None:
        identity = Identity(uid, gid, (gid,), None, None, named)
    else:
        others = sorted(set(os.getgrouplist(entry.pw_name, gid)) - {gid})
        identity = Identity(uid, gid, (gid, *others), entry.pw_name, entry.pw_dir, named)
    return _possible(identity)


def _possible(identity: Identity) -> Identity:
    """Return who root can become; for who stays root, with the groups that can't be given up.

    Raises:
        StartError: Root can't become that here.
    """
    changes_user = _user_ids() != {identity.uid}
    changes_group = _group_ids() != {identity.gid}
    may_set_groups = capabilities.may_set_groups() and not capabilities.lacks("CAP_SETGID")
    if not may_set_groups and not changes_user and not changes_group:
        return identity._replace(groups=_current_groups())
    instead = "or stay who it is (-u root -g root)"
    if not capabilities.has_user(identity.uid):
        raise StartError(
            f"can't become {_described(identity)}: this user namespace has no such user (see "
            f"/proc/self/uid_map): choose another with -u, {instead}"
        )
    for gid in identity.groups:
        if not capabilities.has_group(gid):
            raise StartError(
                f"can't become {_described(identity)}: this user namespace has no group {gid} (see "
                f"/proc/self/gid_map): choose another with -u and -g, {instead}"
            )
    changes_groups = changes_group or set(_current_groups()) != set(identity.groups)
    needed = ["CAP_SETUID", "CAP_CHOWN"] if changes_user else []
    needed += ["CAP_SETGID"] if changes_groups else []
    lacking = [name for name in needed if capabilities.lacks(name)]
    if lacking:
        plural = "capabilities" if len(lacking) > 1 else "capability"
        raise StartError(
            f"can't become {_described(identity)}: this root lacks the {plural} "
            f"{' and '.join(lacking)}: give it that, start the server as that user, {instead}"
        )
    if changes_groups and not may_set_groups:
        raise StartError(
            f"can't become {_described(identity)}: setgroups(2) is denied in this user namespace "
            f"(see /proc/self/setgroups): map its groups by newgidmap(1), {instead}"
        )
    return identity


def group_name(gid: int) -> str:
    """Return the name of a group, or its number if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def drop(identity: Identity) -> None:
    """Become `identity` for good: supplementary groups, gid, uid, each verified; no capabilities.

    Then prove that there is no way back. When root becomes another user, HOME, USER and LOGNAME
    become that user's, so that nothing looks for its files in root's home. A process that was not
    root gives up its saved ids and capabilities, if it has any; if not, nothing is called that a
    sandbox without privileged system calls would kill it for.

    Raises:
        StartError: Something of this failed. The process is in between, and must end.
    """
    root = os.geteuid() == 0
    user_ids, group_ids = _user_ids(), _group_ids()
    unchanged = (user_ids, group_ids) == ({identity.uid}, {identity.gid})
    if not root and unchanged and has_any() is False:
        check_threads(identity.uid, identity.gid, identity.groups)
        return
    own = Capabilities()
    try:
        if root and set(_current_groups()) | {identity.gid} != set(identity.groups):
            # The first group is the effective one on FreeBSD: setgroups(2) there sets that too.
            os.setgroups(identity.groups)
        _set_group_ids(identity.gid)
        _set_user_ids(identity.uid)
    except (OSError, ValueError) as error:  # ValueError: too many groups
        raise StartError(
            f"can't become {_described(identity)}: {error}; the server must not go on"
        ) from None
    _verify("group id", set(_group_ids()), {identity.gid})
    _verify("user id", set(_user_ids()), {identity.uid})
    if sys.platform != "darwin":
        # There, getgroups(2) asks the directory service for the groups that the user is in.
        _verify("groups", set(os.getgroups()) | {identity.gid}, set(identity.groups))
    if identity.uid != 0:
        own.clear()
    # Before anything is tried: where one thread can and another can't, the C library aborts.
    check_threads(identity.uid, identity.gid, identity.groups)
    if identity.uid == 0:
        return
    _verify_no_way_back(
        (user_ids | {0}) - {identity.uid}, (group_ids | {0}) - {identity.gid}, identity
    )
    if root:
        _set_environment(identity)


def _current(user: str | None, group: str | None) -> Identity:
    uid, gid = os.geteuid(), os.getegid()
    if user is not None and _user(user)[0] != uid:
        raise StartError(
            f"-u {user}: only root can change to another user; start the server as root or as that "
            "user, or leave out -u"
        )
    groups = _current_groups()
    named = None if group is None else _group(group)
    if named is not None and named not in groups:
        raise StartError(
            f"-g {group}: this user is not in that group; start the server as root or as a member "
            "of that group, or leave out -g"
        )
    entry = _entry(uid)
    if entry is None:
        return Identity(uid, gid, groups, None, None, named)
    return Identity(uid, gid, groups, entry.pw_name, entry.pw_dir, named)


def _current_groups() -> tuple[int, ...]:
    gid = os.getegid()
    return (gid, *sorted(set(os.getgroups()) - {gid}))


def check_user(user: str | None) -> None:
    """Look whether there is a user that root could run a server as; whoever asks.

    Args:
        user: The value of ``-u``, or None.

    Raises:
        StartError: There is none.
    """
    _user(NOBODY if user is None else user)


def check_group(group: str | None) -> None:
    """Look whether there is a group that root could run a server with; whoever asks.

    Args:
        group: The value of ``-g``, or None.

    Raises:
        StartError: There is none.
    """
    _ = _default_group() if group is None else _group(group)


def user_number(word: str, option: str) -> int:
    """Return the number of the user that a name or a number stands for.

    Raises:
        StartError: There is no such user; the message begins with the option.
    """
    return _user(word, option)[0]


def group_number(word: str) -> int:
    """Return the number of the group that a name or a number stands for.

    Raises:
        StartError: There is no such group.
    """
    return _group(word)


def _user(word: str, option: str = "-u") -> tuple[int, pwd.struct_passwd | None]:
    """Return the id that a name or a number stands for, and its line in passwd(5), if any."""
    try:
        entry = pwd.getpwnam(word)
    except (KeyError, ValueError):  # ValueError: a NUL character
        uid = _number(word)
    else:
        return entry.pw_uid, entry
    if uid is None:
        raise StartError(f"{option} {word}: there is no such user; give a name or a number")
    return uid, _entry(uid)


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _group(word: str) -> int:
    try:
        return grp.getgrnam(word).gr_gid
    except (KeyError, ValueError):
        gid = _number(word)
    if gid is None:
        raise StartError(f"-g {word}: there is no such group; give a name or a number")
    return gid


def _number(word: str) -> int | None:
    # int() takes "1_000", " 7" and "٣" as well, and refuses some thousand digits.
    if not (word.isascii() and word.isdigit()) or len(word) > len(str(LARGEST)):
        return None
    number = int(word)
    return number if number <= LARGEST else None


def _default_group() -> int:
    try:
        return grp.getgrnam(NOBODY).gr_gid
    except KeyError:
        pass
    try:
        return pwd.getpwnam(NOBODY).pw_gid
    except KeyError:
        raise StartError("there is no group nobody here: choose a group with -g") from None


def _described(identity: Identity) -> str:
    user = f"{identity.user} ({identity.uid})" if identity.user else f"user {identity.uid}"
    return f"{user} with group {identity.gid}"


if sys.platform == "darwin":
    # macOS has no setresuid(2). setreuid(2) there: "the saved user ID is set to the new effective
    # user ID" if the real one is given.

    def _set_user_ids(uid: int) -> None:
        os.setreuid(uid, uid)

    def _set_group_ids(gid: int) -> None:
        os.setregid(gid, gid)

    def _user_ids() -> set[int]:
        return {os.getuid(), os.geteuid()}

    def _group_ids() -> set[int]:
        return {os.getgid(), os.getegid()}

else:

    def _set_user_ids(uid: int) -> None:
        os.setresuid(uid, uid, uid)

    def _set_group_ids(gid: int) -> None:
        os.setresgid(gid, gid, gid)

    def _user_ids() -> set[int]:
        return set(os.getresuid())

    def _group_ids() -> set[int]:
        return set(os.getresgid())


def _verify(what: str, found: set[int], wanted: set[int]) -> None:
    if found != wanted:
        raise StartError(
            f"privileges were not dropped: {what} is {_listed(found)}, not {_listed(wanted)}; the "
            "server must not go on"
        )


def _listed(numbers: Iterable[int]) -> str:
    return " ".join(map(str, sorted(numbers)))


def _verify_no_way_back(uids: set[int], gids: set[int], identity: Identity) -> None:
    """Try to become what the process was, or root, by every call there is.

    Raises:
        StartError: One of them succeeded.
    """
    for name, number in _ways_back(uids, gids):
        try:
            _call(name, number)
        except OSError:
            continue
        raise StartError(
            f"privileges were not dropped: as {_described(identity)}, {name}({number}) still "
            "succeeds; the server must not go on"
        )


def _ways_back(uids: set[int], gids: set[int]) -> Iterator[tuple[str, int]]:
    # Groups first: if a user id could be had back, trying it would make these succeed as well.
    for gid in sorted(gids):
        for name in ("setgid", "setegid", "setregid", "setresgid"):
            yield name, gid
    for uid in sorted(uids):
        for name in ("setuid", "seteuid", "setreuid", "setresuid"):
            yield name, uid


def _call(name: str, number: int) -> None:
    call = getattr(os, name, None)
    if call is None:  # macOS
        raise OSError
    if "res" in name:
        call(number, number, number)
    elif "re" in name:
        call(number, number)
    else:
        call(number)


def _set_environment(identity: Identity) -> None:
    os.environ["HOME"] = identity.home or "/"
    for name in ("USER", "LOGNAME"):
        if identity.user is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = identity.user
