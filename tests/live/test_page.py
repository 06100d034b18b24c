"""A page in a real browser whose server is reloaded: it stays connected, and its count is right."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.integration.conftest import CHROMIUM_OPTIONS
from tests.integration.dorrit_server import EXAMPLES
from tests.integration.nginx import nginx_in_front_of
from tests.integration.processes import DEADLINE, find_program, wait_until
from tests.live.server import reload, serving

RELOADS = 10

COUNTING = """
url => {
    window.told = {count: 0, wrong: [], ends: 0};
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send("first " + "x".repeat(500));
    socket.onclose = () => told.ends++;
    socket.onmessage = ({data}) => {
        told.count++;
        if (!data.startsWith(`${told.count}: `)) told.wrong.push(data.slice(0, 40));
        // Without a pause the browser would use all of the machine for nothing but this.
        setTimeout(() => socket.send(`message ${told.count} ` + "x".repeat(500)), 5);
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


def test_L1_a_page_stays_connected_over_reloads_and_its_count_is_right(
    directory: Path, page: Page
) -> None:
    with (
        serving(directory, f"{EXAMPLES / 'counter.py'}:app", "--deflate") as run,
        nginx_in_front_of(run.path) as nginx,
    ):
        page.goto(f"http://127.0.0.1:{nginx.port}/")
        page.evaluate(COUNTING, nginx.url)
        for _ in range(RELOADS):
            until_it_counts(page)
            reload(run)
        until_it_counts(page)
        told = page.evaluate("told")
        assert (told["wrong"], told["ends"]) == ([], 0), run.err
        assert run.err.count("reloaded: 1 connections were carried over") == RELOADS
        page.goto("about:blank")
