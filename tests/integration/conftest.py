"""What the integration tests run against; nothing here is a stand-in.

Modules share a server and a browser, so that a test costs milliseconds. Tests that stop or break
something start their own, with the context managers of `dorrit_server` and `nginx`.
"""

import functools
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.integration.clients import (
    Client,
    exchange_by_chromium,
    exchange_by_node_ws,
    exchange_by_websockets,
)
from tests.integration.dorrit_server import EXAMPLES, dorrit_dev, dorrit_serve
from tests.integration.nginx import nginx_in_front_of
from tests.integration.processes import DEADLINE, RUNNING, find_program, service_directory
from tests.support.daemons import Daemons, reaper

CHROMIUM_OPTIONS = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes have said when a test fails."""
    report = yield
    if report.failed:
        report.sections.extend((f"Output of {each.name}", each.output) for each in RUNNING)
    return report


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory of the service user's, where sockets have short paths."""
    with service_directory() as path:
        yield path


@pytest.fixture(params=[False, True], ids=["alone", "supervised"])
def either(directory: Path, request: pytest.FixtureRequest) -> Iterator[Daemons]:
    """Daemons without a supervisor, and then those that have one, as all have that may."""
    with reaper():
        made = Daemons(directory, supervised=request.param)
        yield made
        made.close()


@pytest.fixture(scope="module")
def nginx_url() -> Iterator[str]:
    """The echo server through nginx."""
    with service_directory() as directory:
        socket_path = directory / "echo.socket"
        with (
            dorrit_serve(EXAMPLES / "echo.py", socket_path),
            nginx_in_front_of(socket_path) as nginx,
        ):
            yield nginx.url


@pytest.fixture(scope="module")
def dev_url() -> Iterator[str]:
    """The echo server through ``dorrit dev``."""
    with dorrit_dev(EXAMPLES / "echo.py") as address:
        yield address.replace("http:", "ws:")


@pytest.fixture(params=["nginx", "dev"])
def echo_url(request: pytest.FixtureRequest) -> str:
    """The echo server through each of the fronts."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium with a new, empty profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_program("chromium"),
            args=CHROMIUM_OPTIONS,
            timeout=DEADLINE * 1000,
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a window of its own."""
    with browser.new_context() as context:
        context.set_default_timeout(DEADLINE * 1000)
        yield context.new_page()


@pytest.fixture(scope="module")
def chromium(browser: Browser) -> Iterator[Client]:
    """A page that stays open for all the messages that are exchanged."""
    with browser.new_context() as context:
        context.set_default_timeout(DEADLINE * 1000)
        yield functools.partial(exchange_by_chromium, context.new_page())


@pytest.fixture(params=["websockets", "node-ws", "chromium"])
def client(request: pytest.FixtureRequest) -> Client:
    """Each of the clients."""
    if request.param == "chromium":
        chromium: Client = request.getfixturevalue("chromium")
        return chromium
    return {"websockets": exchange_by_websockets, "node-ws": exchange_by_node_ws}[request.param]
