"""A page in a real browser whose server is reloaded, crashes or is killed: it does not notice."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.integration import test_chat as chat
from tests.integration.conftest import CHROMIUM_OPTIONS
from tests.integration.dorrit_server import EXAMPLES
from tests.integration.nginx import nginx_in_front_of
from tests.integration.processes import DEADLINE, find_program, wait_until
from tests.live.server import HERE, crash, kill_worker, reload, serving
from tests.support import proc
from tests.support.servers import Run, until_it_sleeps

TIMES = 10

COUNTING = """
url => {
    window.told = {count: 0, wrong: [], ends: 0, pauses: false, paused: false};
    window.say = () => socket.send(`message ${told.count} ` + "x".repeat(500));
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send("first " + "x".repeat(500));
    socket.onclose = () => told.ends++;
    socket.onmessage = ({data}) => {
        told.count++;
        if (!data.startsWith(`${told.count}: `)) told.wrong.push(data.slice(0, 40));
        if (told.pauses) told.paused = true;
        // At once the browser would use all of the machine for nothing but this.
        else setTimeout(say, 5);
    };
}
"""


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_program("chromium"),
            args=CHROMIUM_OPTIONS,
            timeout=DEADLINE * 1000,
        )
        context = browser.new_context()
        context.set_default_timeout(DEADLINE * 1000)
        yield context.new_page()
        browser.close()


def until_it_counts(page: Page) -> None:
    """Wait until the page has got some more answers."""
    before = page.evaluate("told.count")
    wait_until(lambda: bool(page.evaluate("told.count") > before + 20), "it counts")


def kill_while_it_pauses(page: Page, run: Run) -> None:
    """Kill the worker at a moment when the page waits for nothing, and the worker for the page.

    What a worker has not done with when it is killed may cost the connection that it is about.
    """
    page.evaluate("told.pauses = true")
    wait_until(lambda: bool(page.evaluate("told.paused")), "it pauses")
    until_it_sleeps(proc.oldest(proc.children(run.pid)))
    kill_worker(run)
    page.evaluate("told.pauses = told.paused = false; say()")


def stays_connected(
    directory: Path,
    page: Page,
    file: Path,
    restart: Callable[[Run, int], object],
    *options: str,
) -> str:
    """Restart a server so often while a page counts; return the server's log.

    Args:
        directory: Where its socket is.
        page: A page that has no address yet.
        file: The server's.
        restart: `restart(run, number)` does it, and returns when the server serves again.
        options: Of `dorrit serve`.
    """
    with (
        serving(directory, f"{file}:app", "--deflate", *options) as run,
        nginx_in_front_of(run.path) as nginx,
    ):
        page.goto(f"http://127.0.0.1:{nginx.port}/")
        page.evaluate(COUNTING, nginx.url)
        for number in range(TIMES):
            until_it_counts(page)
            restart(run, number)
        until_it_counts(page)
        told = page.evaluate("told")
        assert (told["wrong"], told["ends"]) == ([], 0), run.err
        page.goto("about:blank")
    return run.err


@pytest.mark.parametrize("options", [[], ["--supervise"]], ids=["alone", "supervised"])
def test_L1_a_page_stays_connected_over_reloads_and_its_count_is_right(
    directory: Path, page: Page, options: list[str]
) -> None:
    log = stays_connected(
        directory, page, EXAMPLES / "counter.py", lambda run, _: reload(run), *options
    )
    assert log.count("reloaded: 1 connections were carried over") == TIMES


@pytest.mark.parametrize("options", [[], ["--supervise"]], ids=["alone", "supervised"])
def test_L3_a_page_stays_connected_over_crashes_and_its_count_is_right(
    directory: Path, page: Page, options: list[str]
) -> None:
    log = stays_connected(
        directory,
        page,
        HERE / "crashing_counter.py",
        lambda run, number: crash(run.path, number),
        *options,
    )
    assert log.count(" 1 connections go on after the crash") == TIMES


def test_L4_a_page_stays_connected_over_sigkills_of_the_worker_and_its_count_is_right(
    directory: Path, page: Page
) -> None:
    log = stays_connected(
        directory,
        page,
        EXAMPLES / "counter.py",
        lambda run, _: kill_while_it_pauses(page, run),
        "--supervise",
    )
    assert log.count("killed: SIGKILL; another process goes on") == TIMES


@pytest.mark.parametrize("options", [[], ["--supervise"]], ids=["alone", "supervised"])
def test_L1_the_chat_of_the_tutorial_is_deployed_anew_while_people_talk(
    directory: Path, page: Page, options: list[str]
) -> None:
    ann, bob = page, page.context.new_page()
    source = (EXAMPLES / "live_chat.py").read_text()
    file = directory / "live_chat.py"
    file.write_text(source)
    lines: list[str] = []

    def heard(line: str) -> None:
        lines.append(line)
        chat.heard(ann, *lines)
        chat.heard(bob, *lines[1:])

    def with_its_page(configuration: str) -> str:
        www = re.sub(r"root .*/www;", f"root {EXAMPLES / 'chat_page'};", configuration)
        return www.replace("/websocket", "/chat")

    with (
        serving(directory, f"{file}:app", *options) as run,
        nginx_in_front_of(run.path, edit=with_its_page) as nginx,
    ):
        address = f"http://127.0.0.1:{nginx.port}/"
        for each, name in ((ann, "Ann"), (bob, "Bob")):
            each.goto(address)
            chat.join(each, name)
        lines += ["Ann has joined", "Bob has joined"]
        for version in range(1, 4):
            file.write_text(source.replace("{conn.data}:", f"{{conn.data}}, {version}:"))
            reload(run)
            chat.say(ann, "hello")
            heard(f"Ann, {version}: hello")
            chat.say(bob, "grüße <b>")
            heard(f"Bob, {version}: grüße <b>")
        assert run.err.count("reloaded: 2 connections were carried over") == 3
        bob.close()
        chat.heard(ann, *lines, "Bob has left")
        page.goto("about:blank")
