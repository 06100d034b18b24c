"""The user and the group that the server runs as (R26, R33). These tests need root."""

import grp
import json
import os
import pwd
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from dorrit.errors import StartError
from dorrit.process.credentials import privileges
from dorrit.process.credentials.privileges import (
    LARGEST,
    Identity,
    group_name,
    resolve,
    user_number,
)
from tests.support import accounts
from tests.support.proc import CAPABILITIES

NOBODY = 65534

BEGINNING = f"""\
import json, os, sys, threading
from dorrit.errors import StartError
from dorrit.process.credentials import privileges
from dorrit.process.credentials.privileges import Identity, drop, resolve
from tests.support.proc import status

NOBODY = {NOBODY}

def become_nobody():
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)

def show():
    print(json.dumps(status("self")))

def refused(call, *arguments):
    try:
        call(*arguments)
    except (OSError, StartError) as error:
        return str(error)
    raise AssertionError("it was not refused")

status("self")  # import all that reading it needs: the interpreter may be in root's home
"""


RICH = (
    "setpriv",
    "--inh-caps=+setuid,+setgid",
    "--ambient-caps=+setuid,+setgid",
    "--securebits=+no_setuid_fixup",
)
"""Runs a command with capabilities that outlive a change of the user id."""


def run(code: str, *before: str, **environment: str) -> str:
    """Run code in a process of its own; `before` is the command that runs it."""
    done = subprocess.run(
        [*before, sys.executable, "-c", BEGINNING + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=dict(os.environ, **environment),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def status_after(code: str, *before: str) -> dict[str, list[str]]:
    """What /proc says of the process after the code, which drops privileges somehow."""
    shown: dict[str, list[str]] = json.loads(run(textwrap.dedent(code) + "\nshow()", *before))
    return shown


def assert_is(shown: dict[str, list[str]], uid: int, gid: int, groups: set[int]) -> None:
    """Real, effective, saved and file system id; groups; no capability."""
    assert shown["Uid"] == [str(uid)] * 4
    assert shown["Gid"] == [str(gid)] * 4
    assert {int(number) for number in shown["Groups"]} == groups
    assert {name: int(shown[name][0], 16) for name in CAPABILITIES} == dict.fromkeys(
        CAPABILITIES, 0
    )


@pytest.fixture
def account() -> Iterator[str]:
    """A user of its own, who is in two groups besides the first."""
    with accounts.account("-U", "-d", "/home/of-dorrit", "-G", "mail,news") as name:
        yield name


@pytest.mark.root
def test_R26_both_default_to_nobody() -> None:
    nobody = pwd.getpwnam("nobody")
    try:
        gid = grp.getgrnam("nobody").gr_gid
    except KeyError:
        gid = nobody.pw_gid  # Debian's nogroup
    assert resolve(None, None) == Identity(nobody.pw_uid, gid, (gid,), "nobody", nobody.pw_dir)
    assert resolve("daemon", None).gid == gid


@pytest.mark.root
@pytest.mark.parametrize("exists", [True, False])
def test_R26_the_default_group_is_nobody_where_that_exists(exists: bool) -> None:
    told = run(
        f"""
        import types
        real = privileges.grp.getgrnam

        def getgrnam(name):
            if name == "nobody":
                if {exists}:
                    return types.SimpleNamespace(gr_gid=99)
                raise KeyError
            return real(name)

        privileges.grp.getgrnam = getgrnam
        print(resolve("daemon", None).gid)
        """
    )
    assert int(told) == (99 if exists else pwd.getpwnam("nobody").pw_gid)


@pytest.mark.root
def test_R33_names_and_numbers_mean_the_same() -> None:
    entry, group = pwd.getpwnam("daemon"), grp.getgrnam("mail")
    identity = resolve("daemon", "mail")
    assert (identity.uid, identity.gid) == (entry.pw_uid, group.gr_gid)
    assert identity == resolve(str(entry.pw_uid), str(group.gr_gid))
    assert (identity.user, identity.home) == ("daemon", entry.pw_dir)


@pytest.mark.root
def test_R33_a_number_without_a_name_is_accepted() -> None:
    assert resolve("54321", "65432") == Identity(54321, 65432, (65432,), None, None, 65432)
    assert resolve(str(LARGEST), str(LARGEST)).uid == LARGEST


@pytest.mark.parametrize(
    "word", ["", "no-such-user", "-1", "4294967295", "9" * 5000, "٣", " 1", "1_0", "a\0b", "\udc80"]
)
def test_R33_an_unknown_user_or_group_is_one_line(word: str) -> None:
    # 4294967295 is (uid_t)-1, which setresuid(2) takes for "leave it".
    with pytest.raises(StartError) as caught:
        resolve(word, None)
    assert str(caught.value) == f"-u {word}: there is no such user; give a name or a number"
    with pytest.raises(StartError) as caught:
        resolve(None, word)
    assert str(caught.value) == f"-g {word}: there is no such group; give a name or a number"


@pytest.mark.root
def test_R26_the_groups_are_those_of_the_user_and_the_one_given(account: str) -> None:
    daemon, mail, news = (grp.getgrnam(name).gr_gid for name in ("daemon", "mail", "news"))
    assert resolve(account, "daemon").groups == (daemon, *sorted((mail, news)))
    assert resolve(account, "mail").groups == (mail, news)


@pytest.mark.root
def test_R26_root_becomes_the_user_in_every_respect(account: str) -> None:
    shown = status_after(f"drop(resolve({account!r}, 'daemon'))")
    groups = {grp.getgrnam(name).gr_gid for name in ("daemon", "mail", "news")}
    assert_is(shown, pwd.getpwnam(account).pw_uid, grp.getgrnam("daemon").gr_gid, groups)


@pytest.mark.root
def test_R26_root_becomes_a_number_without_a_name() -> None:
    assert_is(status_after("drop(resolve('54321', '65432'))"), 54321, 65432, {65432})


@pytest.mark.root
def test_R26_nothing_of_a_rich_root_is_left() -> None:
    shown = status_after(
        """
        os.setgroups([0, 1, 2, 3, 4])
        drop(resolve("nobody", "65432"))
        """,
        *RICH,
    )
    assert_is(shown, NOBODY, 65432, {65432})


def test_R26_root_can_not_be_had_back() -> None:
    told = run(
        """
        drop(resolve(None, None))
        for call, *arguments in (
            (os.setuid, 0), (os.seteuid, 0), (os.setreuid, 0, 0), (os.setresuid, 0, 0, 0),
            (os.setresuid, -1, 0, -1), (os.setgid, 0), (os.setegid, 0), (os.setresgid, 0, 0, 0),
            (os.setgroups, [0]),
        ):
            print(refused(call, *arguments))
        """
    )
    assert told.splitlines() == ["[Errno 1] Operation not permitted"] * 9


@pytest.mark.root
def test_R26_every_thread_becomes_the_user() -> None:
    told = run(
        """
        hold = threading.Event()
        threads = [threading.Thread(target=hold.wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        drop(resolve(None, None))
        for task in os.listdir("/proc/self/task"):
            print(*status(f"self/task/{task}")["Uid"])
        hold.set()
        """
    )
    assert told.splitlines() == [" ".join([str(NOBODY)] * 4)] * 4


@pytest.mark.root
def test_R26_a_process_that_is_not_root_stays_what_it_is() -> None:
    shown = status_after(
        """
        os.setgroups([7, 8])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(54321, 54321, 54321)
        drop(resolve(None, None))
        """
    )
    assert_is(shown, 54321, NOBODY, {7, 8})


@pytest.mark.root
def test_R26_a_saved_id_is_given_up() -> None:
    shown = status_after(
        """
        os.setgroups([])
        os.setresgid(0, NOBODY, 0)
        os.setresuid(NOBODY, NOBODY, 0)
        drop(resolve(None, None))
        """
    )
    assert_is(shown, NOBODY, NOBODY, set())


@pytest.mark.root
def test_R26_capabilities_of_a_process_that_is_not_root_are_given_up() -> None:
    shown = status_after(
        "become_nobody(); drop(resolve(None, None))",
        *RICH,
    )
    assert_is(shown, NOBODY, NOBODY, set())


@pytest.mark.root
def test_R26_without_privileges_nothing_is_called_that_needs_some() -> None:
    # A sandbox may kill a process for such a call.
    told = run(
        """
        def watch(frame, event, function):
            if event == "c_call" and function.__name__.startswith("set"):
                print(function.__name__)

        become_nobody()
        identity = resolve(None, None)
        sys.setprofile(watch)
        drop(identity)
        sys.setprofile(None)
        """
    )
    assert told.splitlines() == ["setprofile"]


@pytest.mark.root
def test_R26_naming_another_user_or_group_needs_root() -> None:
    told = run(
        """
        become_nobody()
        me = resolve(None, None)
        print(me.uid, me.gid, me.groups, me.user)
        assert me == resolve("nobody", None)
        assert me == resolve(str(NOBODY), str(NOBODY))._replace(socket_group=None)
        print(refused(resolve, "daemon", None))
        print(refused(resolve, "0", None))
        print(refused(resolve, None, "daemon"))
        print(refused(resolve, "no-such-user", None))
        """
    ).splitlines()
    instead = "start the server as root or"
    as_user = f"{instead} as that user, or leave out -u"
    with_group = f"{instead} as a member of that group, or leave out -g"
    assert told == [
        f"{NOBODY} {NOBODY} ({NOBODY},) nobody",
        f"-u daemon: only root can change to another user; {as_user}",
        f"-u 0: only root can change to another user; {as_user}",
        f"-g daemon: this user is not in that group; {with_group}",
        "-u no-such-user: there is no such user; give a name or a number",
    ]


@pytest.mark.root
def test_R26_root_may_stay_root_and_is_warned() -> None:
    assert resolve(None, None).warning is None
    warning = resolve("root", "daemon").warning
    assert warning is not None
    assert "runs as root" in warning
    shown = status_after("os.setgroups([7, 8]); drop(resolve('root', 'daemon'))")
    assert shown["Uid"] == ["0"] * 4
    assert shown["Gid"] == ["1"] * 4
    assert shown["Groups"] == [str(n) for n in sorted(os.getgrouplist("root", 1))]


@pytest.mark.root
@pytest.mark.parametrize("capability", ["setgid", "setuid"])
def test_R26_what_the_system_does_not_allow_is_an_error(capability: str) -> None:
    told = run("print(refused(drop, Identity(NOBODY, NOBODY, (NOBODY, 7), 'nobody', None)))",
               "setpriv", f"--bounding-set=-{capability}")  # fmt: skip
    assert told.startswith(f"can't become nobody ({NOBODY}) with group ")
    assert "Operation not permitted; the server must not go on" in told
    told = run("print(refused(resolve, None, None))", "setpriv", f"--bounding-set=-{capability}")
    assert told.startswith(f"can't become nobody ({NOBODY}) with group ")
    assert f"this root lacks the capability CAP_{capability.upper()}: give it that" in told


@pytest.mark.root
def test_R26_a_step_that_did_nothing_is_noticed() -> None:
    told = run(
        """
        real_user, real_group, real_groups = os.setresuid, os.setresgid, os.setgroups
        identity = resolve(None, "65432")

        os.setgroups = lambda groups: real_groups([0, *groups])
        pid = os.fork()
        if pid == 0:
            print(refused(drop, identity), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)

        os.setgroups = real_groups
        os.setresgid = lambda real, effective, saved: real_group(real, effective, 0)
        pid = os.fork()
        if pid == 0:
            print(refused(drop, identity), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)

        os.setresgid = real_group
        os.setresuid = lambda real, effective, saved: real_user(real, effective, 0)
        print(refused(drop, identity))
        """
    )
    end = "the server must not go on"
    assert told.splitlines() == [
        f"privileges were not dropped: groups is 0 65432, not 65432; {end}",
        f"privileges were not dropped: group id is 0 65432, not 65432; {end}",
        f"privileges were not dropped: user id is 0 {NOBODY}, not {NOBODY}; {end}",
    ]


@pytest.mark.root
def test_R26_a_way_back_is_noticed() -> None:
    # All ids are right, but the process has kept the capability to change them.
    told = run(
        """
        privileges.Capabilities.clear = lambda self: None
        privileges.check_threads = lambda *_: None
        print(refused(drop, resolve(None, "65432")))
        """,
        *RICH,
    )
    assert told.startswith("privileges were not dropped: as nobody ")
    assert "setgid(0) still succeeds" in told


@pytest.mark.root
@pytest.mark.parametrize(
    ("user", "home", "name"), [("daemon", "/usr/sbin", "daemon"), ("54321", "/", None)]
)
def test_R26_the_environment_is_that_of_the_user(user: str, home: str, name: str | None) -> None:
    told: dict[str, Any] = json.loads(
        run(
            f"""
            drop(resolve({user!r}, None))
            print(json.dumps(dict(os.environ)))
            """,
            HOME="/root", USER="root", LOGNAME="root", OTHER="other",
        )
    )  # fmt: skip
    assert told["HOME"] == home
    assert (told.get("USER"), told.get("LOGNAME")) == (name, name)
    assert told["OTHER"] == "other"


@pytest.mark.root
def test_R26_the_environment_of_who_was_not_root_is_left() -> None:
    told = run(
        """
        os.setresuid(NOBODY, NOBODY, 0)
        drop(resolve(None, None))
        print(os.environ["HOME"], *status("self")["Uid"])
        """,
        HOME="/some",
    )
    assert told == f"/some {NOBODY} {NOBODY} {NOBODY} {NOBODY}\n"


def test_R26_without_nobodys_group_one_must_be_chosen() -> None:
    told = run(
        """
        privileges.NOBODY = "no-such-user"
        print(refused(privileges._default_group))
        """
    )
    assert told == "there is no group nobody here: choose a group with -g\n"


def test_R33_a_group_is_shown_by_its_name_if_it_has_one() -> None:
    assert group_name(0) == "root"
    assert group_name(65432) == "65432"


def test_R33_another_options_user_is_looked_up_alike() -> None:
    assert user_number("daemon", "--allow-peer") == pwd.getpwnam("daemon").pw_uid
    assert user_number("54321", "--allow-peer") == 54321
    with pytest.raises(StartError, match=r"^--allow-peer no-such-user: there is no such user"):
        user_number("no-such-user", "--allow-peer")


def test_R26_a_system_without_a_call_has_no_way_back_by_it() -> None:
    with pytest.raises(OSError, match=r"^$"):
        privileges._call("setresnothing", 0)


@pytest.mark.root
def test_R26_capabilities_that_cannot_be_given_up_are_an_error() -> None:
    told = run(
        """
        sys.modules["ctypes"] = None  # as in a sandbox that refuses what it needs
        print(refused(drop, Identity(NOBODY, NOBODY, (NOBODY,), "nobody", None)))
        """,
        *RICH,
    )
    assert told == "capabilities were not dropped; the server must not go on\n"


EARLY = """
begin, end = threading.Event(), threading.Event()
def early():
    begin.set()
    end.wait()
threading.Thread(target=early, name="early", daemon=True).start()
begin.wait()
"""
"""What a server's file may do when it is loaded."""


@pytest.mark.root
def test_R26_a_thread_that_keeps_capabilities_is_named_and_nothing_goes_on() -> None:
    told = run(
        f"""
        become_nobody()
        {textwrap.indent(EARLY, " " * 8).strip()}
        print(refused(drop, resolve(None, None)))
        """,
        *RICH,
    )
    assert told.startswith("privileges were not dropped in threads that run already: early (")
    assert "in an on_start handler" in told


@pytest.mark.root
def test_R26_a_thread_that_keeps_capabilities_is_noticed_by_who_has_none() -> None:
    # The server's code has given them up, but in one thread.
    told = run(
        f"""
        become_nobody()
        {textwrap.indent(EARLY, " " * 8).strip()}
        privileges.Capabilities().clear()
        print(refused(drop, resolve(None, None)))
        """,
        *RICH,
    )
    assert told.startswith("privileges were not dropped in threads that run already: early (")


@pytest.mark.root
def test_R26_threads_of_root_are_no_hindrance() -> None:
    told = run(
        f"""
        {textwrap.indent(EARLY, " " * 8).strip()}
        drop(resolve(None, None))
        print("dropped")
        """
    )
    assert told == "dropped\n"
