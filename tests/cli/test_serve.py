"""``dorrit serve`` from start to end (R27, R34), as a process that only the command line knows."""

import signal
import socket
from importlib.metadata import entry_points

import pytest

import dorrit.cli
from tests.support.frames import TEXT, close_frame, frame
from tests.support.servers import Servers, until

TELL = """
    def ws_open_callback(conn, cookie):
        say("open")

    def ws_close_callback(conn):
        say("close")
"""


def test_the_log_says_where_it_listens_when_clients_can_connect(servers: Servers) -> None:
    run = servers.serve("")
    assert servers.connect().status == 101
    assert run.log[0].endswith(f" INFO listening on {servers.path}")
    assert servers.stop(run) == 0
    assert len(run.log) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_R27_a_signal_stops_it_clients_get_1001_and_the_socket_goes(
    servers: Servers, number: int
) -> None:
    run = servers.serve(TELL)
    clients = [servers.connect() for _ in range(20)]
    run.process.send_signal(number)
    assert {client.close_code() for client in clients} == {1001}
    for client in clients:
        client.socket.sendall(close_frame(1001))
    assert all(client.ended() for client in clients)
    assert run.wait() == 0
    assert run.said == ["open"] * 20 + ["close"] * 20
    assert not servers.path.exists()
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    "source",
    [
        'say("loading"); time.sleep(3600)',
        """
        def ws_init_func():
            say("loading")
            time.sleep(3600)
        """,
    ],
    ids=["its file is loaded", "it initialises"],
)
def test_ctrl_c_while_it_starts_ends_it_quietly_by_that_signal(
    servers: Servers, source: str
) -> None:
    run = servers.start(*servers.command(servers.write(source)))
    run.until_said("loading")
    run.process.send_signal(signal.SIGINT)
    assert (run.wait(), run.err) == (-signal.SIGINT, "")


def test_R27_what_is_queued_is_written_before_it_stops(servers: Servers) -> None:
    run = servers.serve("""
        def ws_read_callback(conn, binary, data):
            ws_write_conn(conn, True, bytes(2_000_000))
            say("queued")
    """)
    client = servers.connect()
    client.send("go")
    run.until_said("queued")
    run.process.terminate()
    run.until_logged("stopping")
    size = 0
    while (received := client.receive()).opcode != 0x8:
        size += len(received.payload)
    assert size == 2_000_000
    assert received.code == 1001
    client.socket.close()
    assert run.wait() == 0


def test_R27_it_takes_no_more_clients_once_it_stops(servers: Servers) -> None:
    run = servers.serve(TELL)
    client = servers.connect()
    run.process.terminate()
    assert client.close_code() == 1001
    with socket.socket(socket.AF_UNIX) as late:
        late.connect(str(servers.path))  # the kernel lets it wait
        client.socket.sendall(close_frame(1001))
        assert run.wait() == 0
        late.settimeout(20)
        with pytest.raises(ConnectionResetError):
            late.recv(1)
    assert run.said == ["open", "close"]


def test_R27_a_second_signal_does_not_wait_for_clients_that_do_not_read(servers: Servers) -> None:
    run = servers.serve(
        TELL
        + """
    def ws_read_callback(conn, binary, data):
        ws_write_conn(conn, True, bytes(10_000_000))
        say("queued")

    def ws_exit_func():
        say("exit")
"""
    )
    client = servers.connect()
    client.send("go")
    run.until_said("queued")
    run.process.terminate()
    run.until_logged("stopping")
    assert run.process.poll() is None
    run.process.terminate()
    assert run.wait() == 0
    assert run.said == ["open", "queued", "close", "exit"]
    assert not servers.path.exists()


def test_R27_a_client_in_its_handshake_does_not_keep_it_from_stopping(servers: Servers) -> None:
    run = servers.serve(TELL)
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(servers.path))
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert servers.connect().status == 101  # so the server has taken the slow one as well
        assert servers.stop(run) == 0
    assert run.said == ["open", "close"]


def test_R27_a_signal_that_comes_while_it_starts_stops_it(servers: Servers) -> None:
    run = servers.start(
        *servers.command(
            servers.write("""
                import signal

                def ws_init_func():
                    # Such a signal is rare; so this one comes when the socket is about to be made.
                    import dorrit.process.files.listener as listener
                    listen = listener.Listener.__init__

                    def listen_late(self, path, uid, gid):
                        os.kill(os.getpid(), signal.SIGTERM)
                        listen(self, path, uid, gid)

                    listener.Listener.__init__ = listen_late

                def ws_exit_func():
                    say("exit")
            """)
        )
    )
    assert run.wait() == 0
    assert run.said == ["exit"]
    assert not servers.path.exists()


def test_R30_b_limits_what_comes_in_and_splits_what_goes_out(servers: Servers) -> None:
    servers.serve("", "-b", "10")
    client = servers.connect()
    assert client.ask("12345") == "12345"
    client.socket.sendall(frame(TEXT, b"123456"))
    assert client.close_code() == 1009


def test_R17_b_splits_what_goes_out(servers: Servers) -> None:
    servers.serve(
        """
        def ws_open_callback(conn, cookie):
            ws_write_conn(conn, False, "0123456789ab")
    """,
        "-b",
        "10",
    )
    client = servers.connect()
    assert [client.receive()[1:3] for _ in range(3)] == [
        (b"01234", False),
        (b"56789", False),
        (b"ab", True),
    ]


def test_R32_m_limits_the_clients(servers: Servers) -> None:
    run = servers.serve("", "-m", "2")
    clients = [servers.connect(), servers.connect()]
    assert [client.status for client in clients] == [101, 101]
    assert servers.connect().status == 503
    run.until_logged("503")
    clients[0].close()
    until(lambda: servers.connect().status == 101, "a place")


def test_R32_it_says_at_the_start_that_the_descriptors_will_not_do(servers: Servers) -> None:
    # Neither root nor anybody else can have more without the privilege to raise the hard limit.
    low = ["prlimit", "--nofile=1000", "setpriv", "--bounding-set=-sys_resource"]
    command = servers.command(servers.write(""), "-m", "10000000")
    run = servers.start(*low, *command).until_listening()
    warning, listening = run.log
    assert " WARNING the limit of 1000 " in warning
    assert " descriptors is too low for 10000000 connections, which need " in warning
    assert "listening" in listening
    assert servers.connect().ask("hello") == "hello"


def test_the_log_level_decides_what_is_logged(servers: Servers) -> None:
    file = servers.write("""
        def ws_read_callback(conn, binary, data):
            raise ValueError("for the log")
    """)
    run = servers.start(*servers.command(file, "--log-level", "error"))
    until(servers.is_listening, "the server's start")
    client = servers.connect()
    client.send("go")
    assert client.close_code() == 1011
    assert servers.stop(run) == 0
    assert "listening" not in run.err
    assert run.err.count("ERROR the read callback raised ValueError") == 1


def test_R25_a_server_that_was_killed_leaves_a_socket_that_the_next_one_replaces(
    servers: Servers,
) -> None:
    file = servers.write("")
    servers.serve(file).kill()
    assert servers.path.exists()
    run = servers.serve(file)
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(run) == 0


def test_a_module_is_served_by_its_name(servers: Servers) -> None:
    package = servers.directory / "package"
    package.mkdir()
    (package / "__init__.py").write_text("name = 'package'\n")
    file = servers.write("""
        from package import name
        from . import name as same

        def ws_read_callback(conn, binary, data):
            ws_write_conn(conn, False, f"{__name__} {name} {same}")
    """)
    file.rename(package / "module.py")
    servers.start(*servers.command("package.module")).until_listening()
    assert servers.connect().ask("hello") == "package.module package package"


def test_a_file_finds_the_modules_beside_it_from_wherever_it_is_started(servers: Servers) -> None:
    folder = servers.directory / "folder"
    folder.mkdir()
    # One that Python has as well: the server's own comes first, as with `python FILE`.
    (folder / "colorsys.py").write_text("answer = 'found'\n")
    servers.write("""
        import colorsys, dataclasses, pickle

        @dataclasses.dataclass
        class Thing:
            number: int

        def ws_read_callback(conn, binary, data):
            thing = pickle.loads(pickle.dumps(Thing(5)))
            ws_write_conn(conn, False, f"{colorsys.answer} {thing} {__name__}")
    """).rename(folder / "chat.py")
    servers.start(*servers.command("folder/chat.py")).until_listening()
    assert servers.connect().ask("hello") == "found Thing(number=5) chat"


def test_a_file_may_have_the_name_of_a_library_module(servers: Servers) -> None:
    folder = servers.directory / "folder"
    folder.mkdir()
    file = servers.write("""
        import select, selectors

        def ws_read_callback(conn, binary, data):
            ws_write_conn(conn, False, f"{__name__} {hasattr(select, 'poll')}")
    """)
    servers.serve(file.rename(folder / "select.py"))
    assert servers.connect().ask("hello") == "select True"


def test_the_installed_command_and_python_m_are_the_same() -> None:
    (command,) = entry_points(group="console_scripts", name="dorrit")
    assert command.load() is dorrit.cli.main
