"""Sets ``dorrit.ws_config_file`` (R35)."""

import sys


def set_config_file(name: str | None) -> None:
    """Let the server's code see the name of its configuration file.

    It is a plain variable of the package: a module with a `__getattr__`, which could look here,
    makes every ``dorrit.ws_write_conn`` slower (the interpreter does not specialise it then).
    """
    vars(sys.modules["dorrit"])["ws_config_file"] = name
