"""The settings of a run: what the command line says, and what the code adds once it is loaded."""

from collections.abc import Callable, Mapping
from typing import Any

from dorrit.drive.application import Application
from dorrit.drive.config_file import set_config_file
from dorrit.settings import Settings, check_together, merge


class RunSettings:
    """The settings of one run.

    Attributes:
        given: The options that stood on the command line; see `dorrit.settings.given`.
        now: What holds. The code has no say in it before it is loaded.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Begin with what the command line says."""
        self.given = given
        self.now: Settings = merge(given, {})

    def load(self, load: Callable[[], Application]) -> Application:
        """Load a server, whose code may have settings of its own: the first step of every start.

        Args:
            load: Loads the server's own code.

        Raises:
            StartError: It can't be loaded, its settings don't fit each other, or it has no
                handlers.
        """
        set_config_file(self.now.config_file)  # the server's file may look at it
        application = load()
        settings = merge(self.given, application.defaults)
        set_config_file(settings.config_file)
        check_together(settings)
        application.check()
        self.now = settings
        return application
