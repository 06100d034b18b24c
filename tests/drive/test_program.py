"""``dorrit.main()`` at the end of a server's file."""

import signal
import sys

import pytest

from tests.support.servers import FIVE, Servers, dorrit

ENDS = {
    "guarded": 'if __name__ == "__main__":\n    dorrit.main()\n',
    "unguarded": "dorrit.main()\n",
    "imported": "from dorrit import main\nmain()\n",
}

pytestmark = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())


def test_a_file_that_ends_with_main_takes_the_options_when_run_itself(
    servers: Servers, end: str
) -> None:
    file = servers.write("""
        def ws_init_func():
            say("init", dorrit.ws_config_file)
    """)
    file.write_text(file.read_text() + end + 'say("not reached")\n')
    run = servers.start(sys.executable, file, "-x", "-l", servers.path, "-b", "100", "-f", "c")
    run.until_listening()
    client = servers.connect()
    assert client.ask("hello") == "hello"
    client.send("a" * 96)
    assert client.close_code() == 1009
    client.socket.close()
    assert servers.stop(run) == 0
    assert run.said == ["init c"]
    assert not servers.path.exists()


def test_a_file_that_ends_with_main_can_be_served_as_well(servers: Servers, end: str) -> None:
    file = servers.directory / "ends.py"
    file.write_text(FIVE + end + 'say("loaded")\n')
    run = servers.serve(file)
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(run) == 0
    assert run.said == ["loaded"]


def test_its_errors_are_one_line_that_begins_with_the_files_name(
    servers: Servers, end: str
) -> None:
    file = servers.directory / "ends.py"
    file.write_text(FIVE + end)
    out_of_range = "9 is out of range: it must be 10 to 65540"
    missing = "No such file or directory: /missing must be a directory"
    for option, value, status, line in [
        ("-b", "9", 2, f"argument -b/--buffer-size: {out_of_range}; see ends.py --help"),
        ("-l", "/missing/socket", 1, f"/missing/socket: the socket can't be made: {missing}"),
    ]:
        run = servers.run(sys.executable, file, "-x", option, value)
        assert (run.wait(), run.err, run.out) == (status, f"ends.py: {line}\n", "")


def test_its_help_lists_the_options(servers: Servers, end: str) -> None:
    file = servers.directory / "ends.py"
    file.write_text(FIVE + end)
    run = servers.run(sys.executable, file, "--help")
    assert (run.wait(), run.err) == (0, "")
    assert run.said[0].startswith("usage: ends.py ")
    for option in ("-b", "-l", "-m", "-x", "-f", "--log-level"):
        assert f"  {option}" in run.out


def test_an_error_in_the_five_functions_is_found_too(servers: Servers, end: str) -> None:
    file = servers.directory / "ends.py"
    file.write_text(FIVE.replace("ws_read_callback", "ws_reed_callback") + end)
    lines = [
        servers.run(sys.executable, file, "-x", "-l", servers.path),
        servers.run(*dorrit("serve", file, "-x", "-l", servers.path)),
    ]
    for run, name in zip(lines, ("ends.py", f"dorrit: {file}"), strict=True):
        assert run.wait() == 1
        assert run.err == (
            f"{name}: ws_reed_callback: names that begin with ws_ are the library's: did you mean "
            "ws_read_callback?\n"
        )


def test_ctrl_c_during_its_start_ends_it_quietly(servers: Servers, end: str) -> None:
    file = servers.write("""
        import atexit
        atexit.register(say, "atexit")
        def ws_init_func():
            say("init")
            time.sleep(3600)
    """)
    file.write_text(file.read_text() + end)
    run = servers.start(sys.executable, file, "-x", "-l", servers.path)
    run.until_said("init")
    run.process.send_signal(signal.SIGINT)
    assert (run.wait(), run.err, run.said) == (130, "", ["init", "atexit"])
