"""Setting: what one row of the table says."""

from collections.abc import Callable
from types import UnionType
from typing import Any, Literal, NamedTuple


class Limit(NamedTuple):
    """What docs/security.md says of a setting that keeps clients from something.

    Attributes:
        beyond: What happens to who goes beyond it.
        stops: What it stops.
        proved_by: The modules of the tests, in `tests/attacks` or named with their folder.
    """

    beyond: str
    stops: str
    proved_by: str


class Setting(NamedTuple):
    """One setting.

    Attributes:
        name: Its name in `Settings`; on the command line, with hyphens.
        flag: Its short form on the command line, or None.
        metavar: What the help calls its value; None for a switch, which takes none.
        default: Its value when it is not given.
        accepts: The type of the value that code may give, besides None where that is the default;
            of each of them, if it is repeatable.
        read: Makes the value of the text on the command line; raises ValueError with the reason.
        help: One sentence.
        unset: What having no value means, for the help.
        opposite: The option that turns a switch off, or None.
        repeatable: It may be given more than once. Its value is a tuple. What stands on the command
            line replaces what the code gave, it is not added to it.
        engine: What of the engine has a field of this name: `Limits`, or `CLimits` too, which C
            reads for each message. None: the engine does not know it.
        engine_least: The least that the engine takes. It may be less than a user may ask for.
        limit: What docs/security.md says of it, or None.
        manual: What dorrit(1) says of it, in the language of mdoc(7), without the default. Empty:
            the help.
    """

    name: str
    flag: str | None
    metavar: str | None
    default: Any
    accepts: type | UnionType
    read: Callable[[str], Any]
    help: str
    unset: str = ""
    opposite: str | None = None
    repeatable: bool = False
    engine: Literal["Limits", "CLimits"] | None = None
    engine_least: int = 0
    limit: Limit | None = None
    manual: str = ""

    @property
    def option(self) -> str:
        """Its long form on the command line."""
        return "--" + self.name.replace("_", "-")
