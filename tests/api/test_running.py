"""A `Server` as a process: ``app.run()`` at the end of its file, and the loop that it runs in."""

import sys

import pytest

from tests.support.servers import Servers, dorrit

SOURCE = """
import sys
import dorrit

app = dorrit.Server("running", {settings})

@app.on_start
def started():
    print("config file:", dorrit.ws_config_file, flush=True)

@app.on_message
def echo(conn, message):
    conn.send(message)

app.run()
print("not run", flush=True)
"""


@pytest.mark.parametrize(
    ("settings", "options", "config_file"),
    [
        ("", ["-f", "named.toml"], "named.toml"),
        ("config_file='default.toml'", [], "default.toml"),
        ("config_file='default.toml'", ["-f", "named.toml"], "named.toml"),
        ("", [], None),
    ],
)
@pytest.mark.parametrize("by", ["itself", "dorrit serve"])
def test_R35_a_server_knows_its_configuration_file_whoever_runs_it(
    servers: Servers, by: str, settings: str, options: list[str], config_file: str | None
) -> None:
    file = servers.directory / "running.py"
    file.write_text(SOURCE.format(settings=settings))
    command = [sys.executable, file] if by == "itself" else dorrit("serve", f"{file}:app")
    run = servers.start(*command, "-x", "-l", servers.path, *options).until_listening()
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(run) == 0
    told = f"config file: {config_file}"
    # What follows app.run() is for who imports the file, as `dorrit serve` does.
    assert run.said == ([told] if by == "itself" else ["not run", told])


LOOPS = """
import asyncio
import sys
import dorrit

if {without_uvloop}:
    sys.modules["uvloop"] = None  # as if it were not installed

app = dorrit.Server("loops")

@app.on_message
async def asked(conn, message):
    conn.send(type(asyncio.get_running_loop()).__module__.partition(".")[0])
"""


def loops(servers: Servers, *, without_uvloop: bool) -> str:
    file = servers.directory / "loops.py"
    file.write_text(LOOPS.format(without_uvloop=without_uvloop))
    return f"{file}:app"


@pytest.mark.parametrize(
    ("options", "without_uvloop", "loop"),
    [
        ([], False, "uvloop"),
        (["--event-loop", "uvloop"], False, "uvloop"),
        (["--event-loop", "asyncio"], False, "asyncio"),
        ([], True, "asyncio"),
    ],
)
def test_async_handlers_run_in_uvloop_where_it_is_installed_or_in_what_is_asked_for(
    servers: Servers, options: list[str], without_uvloop: bool, loop: str
) -> None:
    server = loops(servers, without_uvloop=without_uvloop)
    run = servers.start(*servers.command(server, *options)).until_listening()
    assert servers.connect().ask("which?") == loop
    assert servers.stop(run) == 0


def test_an_event_loop_that_is_not_installed_is_an_error_in_one_line(servers: Servers) -> None:
    server = loops(servers, without_uvloop=True)
    run = servers.run(*servers.command(server, "--event-loop", "uvloop"))
    assert run.process.returncode == 1
    assert run.err == (
        "dorrit: --event-loop uvloop: it is not installed; run 'pip install uvloop', or leave "
        "this out\n"
    )
