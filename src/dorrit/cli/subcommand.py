"""What each subcommand is made with."""

import argparse
from collections.abc import Callable


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    description: str,
    epilog: str,
) -> argparse.ArgumentParser:
    """Add a subcommand to the command line.

    Args:
        commands: The subcommands that there are.
        name: What it is called.
        run: Runs it, and returns the exit status.
        summary: What it does, in the list of all.
        description: The same at length.
        epilog: What comes last in its help.

    Returns:
        Its parser, which has no arguments yet.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(func=run)
    return parser
