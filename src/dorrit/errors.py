"""The errors that dorrit raises itself."""


class DorritError(Exception):
    """The base of the errors that are dorrit's own."""


class StartError(DorritError):
    """The server can't start. The message is one line that says what, why and what to do.

    Attributes:
        status: The exit status of the command: 1, or 2 if the command line is at fault.
    """

    def __init__(self, message: str, *, status: int = 1) -> None:
        """Make the error.

        Args:
            message: One line for stderr.
            status: The exit status.
        """
        super().__init__(message)
        self.status = status
