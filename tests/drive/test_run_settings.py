"""What holds before a server's code is loaded, and what from then on."""

import pytest

import dorrit
from dorrit.api.server import application_of
from dorrit.drive.application import Application
from dorrit.drive.run_settings import RunSettings
from dorrit.errors import StartError
from dorrit.settings import Settings


def a_server(**settings: object) -> Application:
    app = dorrit.Server(**settings)  # type: ignore[arg-type]
    app.on_message(print)
    return application_of(app)


def test_the_code_has_a_say_once_it_is_loaded_and_the_command_line_the_last_word() -> None:
    settings = RunSettings({"max_head": 2000})
    assert settings.now == Settings(max_head=2000)
    application = a_server(max_head=3000, max_waiting=7, rfc=False)
    assert settings.load(lambda: application) is application
    assert settings.now == Settings(max_head=2000, max_waiting=7)


def test_the_servers_file_finds_the_name_after_f_and_its_handlers_what_the_code_says() -> None:
    names = []

    def load(**in_code: str) -> Application:
        names.append(dorrit.ws_config_file)
        return a_server(**in_code)

    RunSettings({"config_file": "given"}).load(lambda: load(config_file="in code"))
    names.append(dorrit.ws_config_file)
    RunSettings({}).load(lambda: load(config_file="in code"))
    names.append(dorrit.ws_config_file)
    RunSettings({}).load(load)
    names.append(dorrit.ws_config_file)
    assert names == ["given", "given", None, "in code", None, None]


def test_what_does_not_fit_is_not_taken() -> None:
    settings = RunSettings({})
    with pytest.raises(StartError, match="--deflate needs --rfc"):
        settings.load(lambda: a_server(deflate=True, rfc=False, max_waiting=7))
    assert settings.now == Settings()


def test_what_has_no_handlers_is_no_server() -> None:
    settings = RunSettings({})
    with pytest.raises(StartError, match="has no handlers"):
        settings.load(lambda: application_of(dorrit.Server()))
