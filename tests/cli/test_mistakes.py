"""What can be wrong at the start: one clear line, the right status, and nothing destroyed."""

import importlib.metadata
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dorrit.process.files.paths import PATH_MAX
from tests.support.children import NOBODY
from tests.support.servers import FIVE, Servers, dorrit


def fails(servers: Servers, *words: object, status: int) -> list[str]:
    """Run ``dorrit serve``; return the lines of its stderr, and see that it has changed nothing."""
    before = picture(servers.directory)
    run = servers.run(*dorrit("serve", *words))
    assert run.wait() == status, run.err
    assert run.out == ""
    assert picture(servers.directory) == before
    return run.err.splitlines()


def picture(directory: Path) -> dict[str, object]:
    """What there is in a directory, but for the output of commands and what Python compiles."""
    return {
        str(path): (path.lstat().st_ino, path.lstat().st_mode, path.lstat().st_size)
        for path in directory.rglob("*")
        if not path.name.startswith(("out", "err")) and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-b", "9"], "argument -b/--buffer-size: 9 is out of range: it must be 10 to 65540"),
        (
            ["-b", "65541"],
            "argument -b/--buffer-size: 65541 is out of range: it must be 10 to 65540",
        ),
        (
            ["-b", "abc"],
            "argument -b/--buffer-size: 'abc' is not a whole number from 10 to 65540",
        ),
        (
            ["-m", "0"],
            "argument -m/--max-connections: 0 is out of range: it must be 1 to 10000000",
        ),
        (
            ["-m", "-1"],
            "argument -m/--max-connections: '-1' is not a whole number from 1 to 10000000",
        ),
        (
            ["-l", "relative"],
            "argument -l/--listen: 'relative' is not absolute: it must begin with /",
        ),
        *(
            (
                ["-l", address],
                (
                    f"argument -l/--listen: {address!r} is not absolute: it must begin with /; "
                    "dorrit listens on UNIX-domain sockets only, behind a web server; for "
                    "development, 'dorrit dev' has a TCP port"
                ),
            )
            for address in ("127.0.0.1:8000", "localhost:80", ":8000", "8000", "[::1]:8000")
        ),
        (
            ["--log-level", "all"],
            "argument --log-level: 'all' is none of debug, info, warning, error, critical",
        ),
        (["-b"], "argument -b/--buffer-size: expected one argument"),
    ],
)
def test_R30_R31_R32_a_value_out_of_range_is_a_usage_error(
    servers: Servers, words: list[str], reason: str
) -> None:
    lines = fails(servers, servers.write("raise AssertionError"), "-x", *words, status=2)
    assert lines == [f"dorrit: {reason}; see dorrit serve --help"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["serve"],
            "dorrit: the following arguments are required: SERVER; see dorrit serve --help",
        ),
        (["serve", "a.py", "-q"], "dorrit: unrecognized arguments: -q; see dorrit serve --help"),
        (
            ["serve", "a.py", "b.py"],
            "dorrit: unrecognized arguments: b.py; see dorrit serve --help",
        ),
        (
            ["serve", "a.py", "--ping-intervall=20"],
            (
                "dorrit: unrecognized arguments: --ping-intervall=20; did you mean "
                "--ping-interval?; see dorrit serve --help"
            ),
        ),
        (
            ["status", "a", "--json"],
            "dorrit: unrecognized arguments: --json; see dorrit status --help",
        ),
        (
            ["serve", "a.py", "--port", "8000"],
            (
                "dorrit: unrecognized arguments: --port 8000; dorrit listens on UNIX-domain "
                "sockets only, behind a web server; for development, 'dorrit dev' has a TCP port; "
                "see dorrit serve --help"
            ),
        ),
        (["--verison"], "dorrit: the following arguments are required: COMMAND; see dorrit --help"),
        ([], "dorrit: the following arguments are required: COMMAND; see dorrit --help"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    servers: Servers, words: list[str], line: str
) -> None:
    run = servers.run(*dorrit(*words))
    assert (run.wait(), run.err, run.out) == (2, line + "\n", "")


def test_an_unknown_command_is_a_usage_error_that_names_those_there_are(servers: Servers) -> None:
    run = servers.run(*dorrit("sevre"))
    (line,) = run.err.splitlines()
    assert run.wait() == 2
    assert "sevre" in line
    assert "serve" in line.replace("sevre", "")
    assert "dev" in line


# The server's file


def test_a_file_that_is_not_there(servers: Servers) -> None:
    path = servers.directory / "missing.py"
    assert fails(servers, path, "-x", status=1) == [f"dorrit: {path}: there is no such file"]


def test_a_path_without_py_that_is_not_there(servers: Servers) -> None:
    assert fails(servers, "./missing", "-x", status=1) == [
        "dorrit: ./missing: there is no such file"
    ]


@pytest.mark.parametrize("name", ["folder", "folder.py"])
def test_a_directory(servers: Servers, name: str) -> None:
    path = servers.directory / name
    path.mkdir()
    assert fails(servers, path, "-x", status=1) == [f"dorrit: {path}: it is a directory"]


@pytest.mark.parametrize("name", ["NOTES.md", "notes", "my-notes.txt"])
@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_file_of_another_kind(servers: Servers, name: str, prefix: str) -> None:
    (servers.directory / name).write_text("hello")
    [line] = fails(servers, prefix + name, "-x", status=1)
    assert line == (
        f"dorrit: {name}: this is not a Python file: a server is a file whose name ends with .py, "
        "or the dotted name of a module"
    )


def test_a_file_that_may_not_be_read(servers: Servers) -> None:
    # Root may read everything: so it is run by a user that isn't root.
    path = servers.write("")
    path.chmod(0)
    assert as_nobody(servers, path, "-l", servers.path) == (
        f"dorrit: {path} can't be loaded: PermissionError: [Errno 13] Permission denied: '{path}'\n"
    )


def test_a_syntax_error_is_shown_with_its_line(servers: Servers) -> None:
    path = servers.directory / "wrong.py"
    path.write_text("import dorrit\n\ndef ws_init_func(:\n    pass\n")
    assert fails(servers, path, "-x", status=1) == [f"dorrit: {path}: line 3: invalid syntax"]


def test_a_syntax_error_in_what_it_imports_is_shown_with_that_file(servers: Servers) -> None:
    other = servers.directory / "other.py"
    other.write_text("x = = 1\n")
    path = servers.directory / "imports.py"
    path.write_text("import other\n")
    assert fails(servers, path, "-x", status=1) == [f"dorrit: {other}: line 1: invalid syntax"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x = '\xff'\n", b"\x00"])
def test_a_file_that_is_no_text(servers: Servers, content: bytes) -> None:
    path = servers.directory / "binary.py"
    path.write_bytes(content)
    (line,) = fails(servers, path, "-x", status=1)
    assert line.startswith(f"dorrit: {path}")


def test_an_exception_in_the_file_is_shown_with_the_files_traceback(servers: Servers) -> None:
    path = servers.directory / "raises.py"
    path.write_text("def read():\n    raise OSError('no\\nconfiguration')\n\nread()\n")
    lines = fails(servers, path, "-x", status=1)
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == f'  File "{path}", line 4, in <module>'
    assert f'  File "{path}", line 2, in read' in lines
    # Not a word of ours, or of importlib, which loaded it.
    assert len([line for line in lines if line.startswith("  File ")]) == 2
    assert lines[-1] == f"dorrit: {path} can't be loaded: OSError: no configuration"


def test_a_module_that_the_file_wants_is_missing(servers: Servers) -> None:
    path = servers.directory / "wants.py"
    path.write_text("import no_such_module\n")
    lines = fails(servers, path, "-x", status=1)
    assert f'  File "{path}", line 1, in <module>' in lines
    assert lines[-1] == f"dorrit: {path} can't be loaded: No module named 'no_such_module'"


def test_a_file_that_exits_decides_the_status(servers: Servers) -> None:
    path = servers.directory / "exits.py"
    path.write_text("raise SystemExit('not today')\n")
    assert fails(servers, path, "-x", status=1) == ["not today"]


@pytest.mark.parametrize("name", ["no_such_module", "json.no_such_module", "no.such.module"])
def test_a_module_that_is_not_there(servers: Servers, name: str) -> None:
    assert fails(servers, name, "-x", status=1) == [
        f"dorrit: {name}: there is no such module, nor such a file"
    ]


@pytest.mark.parametrize("name", ["", ".", "..relative", "a-b", "a b"])
def test_what_is_neither_a_file_nor_a_module(servers: Servers, name: str) -> None:
    assert fails(servers, name, "-x", status=1) == [
        f"dorrit: {name!r} is neither a file that ends with .py nor a module's name"
    ]


OBJECTS = """
import dorrit

app = dorrit.Server("chat")
number = 7

class Chat(dorrit.Server):
    pass

class Forgetful(dorrit.Server):
    def __init__(self):
        pass

forgetful = Forgetful()
"""


@pytest.mark.parametrize(
    ("name", "status", "line"),
    [
        ("objects.py", 2, "objects.py: there are several servers: say which, :app or :forgetful"),
        ("objects.py:ap", 1, "objects.py: there is no ap; did you mean :app?"),
        ("objects.py:", 2, "objects.py:: '' is not the name of an object"),
        ("objects.py:a-b", 2, "objects.py:a-b: 'a-b' is not the name of an object"),
        (
            "objects.py:number",
            1,
            "objects.py:number is not a dorrit.Server but a int; did you mean :app?",
        ),
        (
            "objects:Chat",
            1,
            "objects:Chat is a class: make an object of it there (app = Chat()), and name that",
        ),
        (
            "objects.py:app.name",
            1,
            "objects.py:app.name is not a dorrit.Server but a str; did you mean :app?",
        ),
        (
            "objects.py:forgetful",
            1,
            "objects.py:forgetful: Forgetful.__init__ must call super().__init__() first",
        ),
        ("nothing.py:app", 1, "nothing.py: there is no such file"),
    ],
)
def test_an_object_that_is_no_server(servers: Servers, name: str, status: int, line: str) -> None:
    (servers.directory / "objects.py").write_text(OBJECTS)
    assert fails(servers, name, "-x", status=status) == [f"dorrit: {line}"]


def test_a_module_that_is_no_server(servers: Servers) -> None:
    (line,) = fails(servers, "json", "-x", status=1)
    assert line.startswith("dorrit: json: ws_init_func, ws_exit_func, ws_open_callback, ")
    assert " are missing: a server defines all five of " in line


def test_R12_a_typo_in_a_callbacks_name(servers: Servers) -> None:
    path = servers.directory / "typo.py"
    path.write_text(FIVE.replace("ws_read_callback", "ws_reed_callback"))
    (line,) = fails(servers, path, "-x", "-l", servers.path, status=1)
    assert line == (
        f"dorrit: {path}: ws_reed_callback: names that begin with ws_ are the library's: did you "
        "mean ws_read_callback?"
    )


def test_R12_a_missing_callback(servers: Servers) -> None:
    path = servers.directory / "lacks.py"
    path.write_text(FIVE.replace("ws_close_callback", "closed"))
    (line,) = fails(servers, path, "-x", "-l", servers.path, status=1)
    assert line.startswith(f"dorrit: {path}: ws_close_callback is missing: a server defines all")


# The socket


def test_R25_a_path_that_is_too_long(servers: Servers) -> None:
    path = "/tmp/" + "x" * 200
    (line,) = fails(servers, servers.write(""), "-x", "-l", path, status=1)
    assert line == (
        f"dorrit: {path}: too long for a UNIX-domain socket: 205 bytes, where at most {PATH_MAX} "
        "are possible; choose a shorter path with -l"
    )


def test_R25_a_socket_on_which_a_server_answers(servers: Servers) -> None:
    file = servers.write("")
    run = servers.serve(file)
    client = servers.connect()
    assert fails(servers, file, "-x", "-l", servers.path, status=1)[-1] == (
        f"dorrit: {servers.path}: another server (process {run.pid}) has this socket; stop it "
        "first, or choose another path"
    )
    assert client.ask("still there?") == "still there?"
    assert servers.connect().ask("for others too?") == "for others too?"


CANNOT_BE_SEEN = "there is a socket, and whether a server answers there can't be seen"


@pytest.fixture
def taken(servers: Servers) -> Iterator[Path]:
    """A directory with one thing of each kind that is no stale socket."""
    folder = servers.directory / "taken"
    folder.mkdir()
    (folder / "file").write_text("precious")
    (folder / "directory").mkdir()
    (folder / "link").symlink_to("file")
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(folder / "datagrams"))
        yield folder


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file", "there is a regular file, not a socket; it was left as it is"),
        ("directory", "there is a directory, not a socket; it was left as it is"),
        ("link", "there is a symbolic link, not a socket; it was left as it is"),
        ("fifo", "there is a FIFO, not a socket; it was left as it is"),
        (
            "datagrams",
            f"{CANNOT_BE_SEEN}: Protocol wrong type for socket; it was left as it is",
        ),
    ],
)
def test_R25_what_is_no_server_of_ours_is_left_alone(
    servers: Servers, taken: Path, name: str, reason: str
) -> None:
    path = taken / name
    assert fails(servers, servers.write(""), "-x", "-l", path, status=1) == [
        f"dorrit: {path}: {reason}"
    ]


def as_nobody(servers: Servers, *words: object) -> str:
    """Run ``dorrit serve -x`` as a user without privileges; return its stderr.

    The interpreter may be where only root can read, so it begins as root if the tests run as root.
    """
    before = picture(servers.directory)
    code = f"""\
import contextlib, io, linecache, os, sys
import dorrit.cli
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    dorrit.cli.main(["serve", "--help"])  # imports what the command else imports when it needs it
if os.getuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
sys.exit(dorrit.cli.main(sys.argv[1:]))
"""
    python = dorrit()[0]
    run = servers.run(python, "-c", code, "serve", "-x", *words)
    assert run.wait() == 1, run.err
    assert picture(servers.directory) == before
    return run.err


def test_R25_a_directory_that_may_not_be_written(servers: Servers) -> None:
    folder = servers.directory / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    path = folder / "socket"
    assert as_nobody(servers, servers.write(""), "-l", path) == (
        f"dorrit: {path}: the socket can't be made: Permission denied: {folder} must be writable "
        "for the server's user; or choose another path with -l\n"
    )


@pytest.mark.parametrize(("source", "name"), [("", "dorrit"), ('"chat"', "chat")])
def test_R13_R25_the_default_socket_has_the_servers_name(
    servers: Servers, source: str, name: str
) -> None:
    init = f"def ws_init_func():\n    dorrit.ws_set_name({source})\n" if source else ""
    # Whoever has no privileges may not write there, and so is told where it would have been.
    err = as_nobody(servers, servers.write(init))
    assert err == (
        f"dorrit: /var/run/{name}.socket: the socket can't be made: Permission denied: /var/run "
        "must be writable for the server's user; or choose another path with -l\n"
    )


# Help


def test_help_lists_the_commands(servers: Servers) -> None:
    run = servers.run(*dorrit("--help"))
    assert (run.wait(), run.err) == (0, "")
    assert run.said[0].startswith("usage: dorrit ")
    for command in ("serve", "dev"):
        assert f"    {command} " in run.out


def test_help_of_serve_tells_every_option_the_functions_and_the_statuses(servers: Servers) -> None:
    run = servers.run(*dorrit("serve", "--help"))
    assert (run.wait(), run.err) == (0, "")
    assert run.said[0].startswith("usage: dorrit serve ")
    text = " ".join(run.out.split())
    for phrase in (
        "SERVER a file that ends with .py, or the dotted name of a module",
        "-b N, --buffer-size N", "10 to 65540", "(default: 65540)",
        "-l PATH, --listen PATH", "(default: /var/run/NAME.socket",
        "-m N, --max-connections N", "1 to 10000000", "(default: 16384)",
        "-x, --foreground", "-f FILE, --config-file FILE",
        "--log-level LEVEL", "debug, info, warning, error or critical", "(default: info)",
        "ws_init_func()", "ws_exit_func()", "ws_open_callback(conn, cookie)",
        "ws_read_callback(conn, binary, data)", "ws_close_callback(conn)",
        "Exit status: 0 after a stop or when the daemon is ready, 2 for a wrong command line,",
    ):  # fmt: skip
        assert phrase in text
    assert max(len(line) for line in run.said) <= 100


def test_help_of_dev_tells_its_options(servers: Servers) -> None:
    run = servers.run(*dorrit("dev", "--help"))
    assert (run.wait(), run.err) == (0, "")
    text = " ".join(run.out.split())
    for phrase in ("usage: dorrit dev ", "--port N", "(default: 8080)", "--static DIR"):
        assert phrase in text


def test_version(servers: Servers) -> None:
    run = servers.run(*dorrit("--version"))
    version = importlib.metadata.version("dorrit")
    assert (run.wait(), run.out, run.err) == (0, f"dorrit {version}\n", "")
