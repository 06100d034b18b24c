"""The settings of a server: one table, and what is made of it."""

from dorrit.settings.command_line import CommandLine, add_arguments, given, options_of
from dorrit.settings.in_code import check
from dorrit.settings.merging import check_together, merge
from dorrit.settings.setting import Setting
from dorrit.settings.table import SETTINGS
from dorrit.settings.values import ServerSettings, Settings

__all__ = [
    "SETTINGS",
    "CommandLine",
    "ServerSettings",
    "Setting",
    "Settings",
    "add_arguments",
    "check",
    "check_together",
    "given",
    "merge",
    "options_of",
]
