"""What a server calls (R13 to R16, R21), and what it may define (R12)."""

import itertools
import os
import signal
from collections.abc import Iterator

import pytest

import dorrit
from dorrit.api import functions
from dorrit.drive.own_loop import OwnLoop
from dorrit.errors import StartError
from dorrit.settings import Settings
from tests.support.frames import BINARY, TEXT, Received
from tests.support.servers import Servers, until


def nothing(*arguments: object) -> None:
    pass


async def any_async(*arguments: object) -> None:
    pass


def generator(*arguments: object) -> Iterator[None]:
    yield


def namespace(**others: object) -> dict[str, object]:
    return dict.fromkeys(functions.CALLBACKS, nothing) | others


# R12


def test_R12_the_five_functions_are_enough() -> None:
    application = functions.application_of(
        namespace(helper=nothing, wsx=1, _ws_private=2), "server.py"
    )
    assert application.handlers.message is nothing


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ws_reed_callback", "ws_read_callback"),
        ("ws_read", "ws_read_callback"),
        ("ws_close_calback", "ws_close_callback"),
        ("ws_init", "ws_init_func"),
        ("ws_exit_function", "ws_exit_func"),
        ("ws_open_call_back", "ws_open_callback"),
    ],
)
def test_R12_a_typo_is_named_with_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(StartError) as raised:
        functions.application_of({name: nothing} | without(meant), "server.py")
    assert str(raised.value) == (
        f"server.py: {name}: names that begin with ws_ are the library's: did you mean {meant}?"
    )
    assert raised.value.status == 1


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in namespace().items() if key != name}


@pytest.mark.parametrize(
    "value",
    [nothing, type("C", (), {}), 7, None],
    ids=["a function", "a class", "a number", "None"],
)
def test_R12_any_other_ws_name_is_refused_whatever_it_is(value: object) -> None:
    with pytest.raises(StartError, match=r"ws_clients: .* library's: choose another name$"):
        functions.application_of(namespace(ws_clients=value), "server.py")


def test_R12_the_suggestion_is_never_a_name_that_is_there_already() -> None:
    with pytest.raises(StartError, match=r"choose another name$"):
        functions.application_of(namespace(ws_read_callback2=nothing), "server.py")


def test_a_misspelt_optional_one_is_found_too() -> None:
    with pytest.raises(StartError, match=r"did you mean ws_resume_callback\?$"):
        functions.application_of(namespace(ws_resume_calback=nothing), "server.py")
    there = namespace(ws_resume_calback=nothing, ws_resume_callback=nothing)
    with pytest.raises(StartError, match=r"choose another name$"):
        functions.application_of(there, "server.py")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (5, "ws_resume_callback can't be called: it is a int"),
        (any_async, "ws_resume_callback must not be async"),
        (generator, "ws_resume_callback must have no `yield`"),
    ],
)
def test_an_optional_one_is_looked_at_as_the_others_are(value: object, why: str) -> None:
    with pytest.raises(StartError, match=why):
        functions.application_of(namespace(ws_resume_callback=value), "server.py")


@pytest.mark.parametrize("name", sorted(functions.LIBRARY))
def test_R12_the_librarys_own_names_may_be_imported(name: str) -> None:
    imported = namespace(**{name: getattr(dorrit, name)})
    assert functions.application_of(imported, "server.py").handlers.message is nothing


@pytest.mark.parametrize("name", sorted(functions.LIBRARY - {"ws_config_file"}))
def test_R12_the_librarys_own_names_may_not_be_defined_anew(name: str) -> None:
    with pytest.raises(StartError, match=rf"{name}: .*dorrit\.{name} is the library's$"):
        functions.application_of(namespace(**{name: nothing}), "server.py")


@pytest.mark.parametrize("name", functions.CALLBACKS)
def test_R12_a_missing_one_is_named(name: str) -> None:
    with pytest.raises(StartError, match=rf"^server\.py: {name} is missing: a server defines"):
        functions.application_of(without(name), "server.py")


def test_R12_several_missing_ones_are_all_named() -> None:
    with pytest.raises(StartError, match="ws_init_func, ws_open_callback are missing"):
        functions.application_of(
            {
                "ws_exit_func": nothing,
                "ws_read_callback": nothing,
                "ws_close_callback": nothing,
            },
            "server.py",
        )


@pytest.mark.parametrize("name", functions.CALLBACKS)
def test_R12_one_that_cannot_be_called_is_named(name: str) -> None:
    with pytest.raises(StartError, match=rf"^server\.py: {name} can't be called: it is a int$"):
        functions.application_of(namespace(**{name: 5}), "server.py")


@pytest.mark.parametrize("name", functions.CALLBACKS)
def test_one_that_is_async_is_refused_since_nobody_would_await_it(name: str) -> None:
    async def later(*arguments: object) -> None:
        pass

    with pytest.raises(StartError, match=rf"^server\.py: {name} must not be async: .*Server$"):
        functions.application_of(namespace(**{name: later}), "server.py")


@pytest.mark.parametrize("name", functions.CALLBACKS)
def test_one_that_is_a_generator_is_refused_since_it_would_not_run(name: str) -> None:
    def generator(*arguments: object) -> Iterator[None]:
        yield

    with pytest.raises(StartError, match=rf"^server\.py: {name} must have no `yield`: "):
        functions.application_of(namespace(**{name: generator}), "server.py")


def test_R12_a_server_may_import_everything_from_dorrit(servers: Servers) -> None:
    servers.serve("""
        from dorrit import *
        from dorrit import ws_write_conn, ws_config_file
    """)
    assert servers.connect().ask("hello") == "hello"


def test_the_library_has_the_names_of_the_manual() -> None:
    listed = {name for name in dir(dorrit) if name.startswith("ws_")}
    assert listed == set(functions.LIBRARY)
    assert listed <= set(dorrit.__all__)
    assert all(hasattr(dorrit, name) for name in dorrit.__all__)


# R13


@pytest.mark.parametrize("name", ["", "/", "a/b", "../x", "a\0b"])
def test_R13_a_name_that_no_file_can_have_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="server's name"):
        dorrit.ws_set_name(name)


@pytest.mark.parametrize("name", [None, 5, b"chat"])
def test_R13_a_name_is_text(name: object) -> None:
    with pytest.raises(TypeError, match="a server's name is a str"):
        dorrit.ws_set_name(name)  # type: ignore[arg-type]


def test_R13_the_name_cannot_change_while_the_server_runs(servers: Servers) -> None:
    servers.serve("""
        def ws_init_func():
            dorrit.ws_set_name("before")
            dorrit.ws_set_name("chat")

        def ws_read_callback(conn, binary, data):
            try:
                dorrit.ws_set_name("other")
            except RuntimeError as error:
                ws_write_conn(conn, False, str(error))
    """)
    client = servers.connect()
    assert "ws_init_func" in client.ask("go")


def test_R13_a_name_in_use_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {name: lambda *_: None for name in functions.CALLBACKS}
    program = functions.application_of(named)
    loop = OwnLoop(program, Settings())
    monkeypatch.setattr(functions.FiveFunctions, "current", program)
    try:
        program.init()
        dorrit.ws_set_name("chat")
        loop.start()
        with pytest.raises(RuntimeError, match="set it in ws_init_func"):
            dorrit.ws_set_name("other")
        assert program.name == "chat"
    finally:
        loop.close()


def test_R13_without_a_server_there_is_nothing_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions.FiveFunctions, "current", None)
    with pytest.raises(RuntimeError, match="no server is there"):
        dorrit.ws_set_name("chat")


# R14


def test_R14_the_function_is_called_again_and_again(servers: Servers) -> None:
    run = servers.serve("""
        def ws_init_func():
            dorrit.ws_set_periodic(lambda: say("tick", time.monotonic()), 0.05)
    """)
    until(lambda: len(run.said) >= 4, "the fourth tick")
    times = [float(line.split()[1]) for line in run.said[:4]]
    # In the manual's words: when that number of seconds has elapsed since the last call.
    assert all(b - a >= 0.049 for a, b in itertools.pairwise(times))


def test_R14_it_can_be_set_while_running_and_takes_the_place_of_the_other(
    servers: Servers,
) -> None:
    run = servers.serve("""
        def first():
            say("first")

        def second():
            say("second")

        def ws_init_func():
            dorrit.ws_set_periodic(say, 3600)
            dorrit.ws_set_periodic(first, 0.01)

        def ws_read_callback(conn, binary, data):
            dorrit.ws_set_periodic(second, 0.01)
    """)
    run.until_said("first")
    servers.connect().send("go")
    until(lambda: run.said.count("second") >= 3, "the second function")
    assert servers.stop(run) == 0
    assert "first" not in run.said[run.said.index("second") :]


def test_R14_the_function_may_set_another_one(servers: Servers) -> None:
    run = servers.serve("""
        def once():
            say("once")
            dorrit.ws_set_periodic(lambda: say("then"), 0.01)

        def ws_init_func():
            dorrit.ws_set_periodic(once, 0.01)
    """)
    until(lambda: run.said.count("then") >= 2, "the function that took its place")
    assert run.said.count("once") == 1


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e10])
def test_R14_a_period_out_of_range_is_an_error(seconds: float) -> None:
    with pytest.raises(ValueError, match="the period must be more than 0 and at most 1e9"):
        dorrit.ws_set_periodic(nothing, seconds)


def test_R14_what_is_no_function_or_no_number_is_an_error() -> None:
    with pytest.raises(TypeError, match="can't be called"):
        dorrit.ws_set_periodic(5, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        dorrit.ws_set_periodic(nothing, "1")  # type: ignore[arg-type]


# The surface of R15, R16 and R21. How the queue behaves is tested with the engine.


def test_R15_a_connection_keeps_one_object_and_none_until_then(servers: Servers) -> None:
    servers.serve("""
        def ws_open_callback(conn, cookie):
            ws_write_conn(conn, False, repr(ws_get_data(conn)))
            ws_set_data(conn, [])

        def ws_read_callback(conn, binary, data):
            ws_get_data(conn).append(data)
            ws_write_conn(conn, False, repr(ws_get_data(conn)))
    """)
    one, other = servers.connect(), servers.connect()
    assert (one.text(), other.text()) == ("None", "None")
    assert one.ask("a") == "[b'a']"
    assert other.ask("b") == "[b'b']"
    assert one.ask("c") == "[b'a', b'c']"


def test_R16_a_message_goes_to_one_or_to_many(servers: Servers) -> None:
    servers.serve("""
        everybody = set()

        def ws_open_callback(conn, cookie):
            everybody.add(conn)

        def ws_read_callback(conn, binary, data):
            changed = bytearray(data)
            results = [
                ws_write_conn(everybody, False, "to all"),
                ws_write_conn((c for c in everybody), 1, changed),
                ws_write_conn(conn, 0, "only you"),
                ws_write_conn([], False, "nobody"),
                ws_write_conn(conn, False, ""),
                ws_write_conn(conn, True, b""),
            ]
            changed[:] = b"?" * len(data)
            ws_write_conn(conn, False, repr(results))
    """)
    clients = [servers.connect(), servers.connect()]
    clients[0].send(b"data")
    for client in clients:
        assert client.receive() == Received(TEXT, b"to all")
        assert client.receive() == Received(BINARY, b"data")
    assert clients[0].text() == "only you"
    assert clients[0].text() == "[0, 0, 0, 0, -2, -2]"


@pytest.mark.parametrize("force", ["False", "0"])
def test_R21_without_force_the_queue_is_written_and_nothing_more_is_read(
    servers: Servers, force: str
) -> None:
    run = servers.serve(f"""
        def ws_read_callback(conn, binary, data):
            say("read", data)
            ws_write_conn(conn, False, "goodbye")
            ws_close_conn(conn, {force})
    """)
    client = servers.connect()
    client.send("one")
    client.send("two")
    assert client.text() == "goodbye"
    client.send("three")
    client.close()
    assert servers.stop(run) == 0
    assert run.said == ["read b'one'"]


@pytest.mark.parametrize("force", ["True", "1"])
def test_R21_with_force_the_connection_ends_at_once(servers: Servers, force: str) -> None:
    servers.serve(f"""
        def ws_read_callback(conn, binary, data):
            ws_write_conn(conn, False, "never sent")
            ws_close_conn(conn, {force})
    """)
    client = servers.connect()
    client.send("one")
    assert client.ended()


def test_R21_calls_on_a_closed_connection_do_nothing(servers: Servers) -> None:
    run = servers.serve("""
        gone = []

        def ws_close_callback(conn):
            gone.append(conn)
            say("closed")

        def ws_read_callback(conn, binary, data):
            old = gone[0]
            results = [
                ws_write_conn(old, False, "hello"), ws_write_conn([old, conn], False, "hello"),
                ws_close_conn(old, True), ws_close_conn(old, False),
                ws_set_data(old, 5), ws_get_data(old), old.is_open,
            ]
            ws_write_conn(conn, False, repr(results))
    """)
    servers.connect().close()
    run.until_said("closed")
    client = servers.connect()
    assert client.ask("go") == "hello"
    assert client.text() == "[0, 0, None, None, None, 5, False]"


# R34, R35


def test_R34_in_the_foreground_it_stays_what_it_was_started_as(servers: Servers) -> None:
    run = servers.serve("""
        def ws_init_func():
            dorrit.ws_set_name("foreground-test")

        def ws_read_callback(conn, binary, data):
            ws_write_conn(conn, False, repr((os.getpid(), os.getsid(0), os.getcwd())))
            sys.stderr.write("to stderr\\n")
            sys.stderr.flush()
    """)
    assert servers.connect().ask("go") == repr((run.pid, os.getsid(0), str(servers.directory)))
    run.until_logged("to stderr")
    assert not os.path.lexists("/var/run/foreground-test.pid")
    assert not os.path.lexists("/var/run/foreground-test.socket")
    assert servers.stop(run, signal.SIGINT) == 0


@pytest.mark.parametrize("options", [["-f", "some.conf"], ["--config-file=some.conf"], []])
def test_R35_the_config_file_is_known_before_the_file_is_loaded_and_in_init(
    servers: Servers, options: list[str]
) -> None:
    run = servers.serve(
        """
        say("load", dorrit.ws_config_file)

        def ws_init_func():
            say("init", dorrit.ws_config_file)
    """,
        *options,
    )
    name = "some.conf" if options else "None"
    assert run.said == [f"load {name}", f"init {name}"]


def test_R35_the_config_file_is_none_by_default() -> None:
    assert dorrit.ws_config_file is None
