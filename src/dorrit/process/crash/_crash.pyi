"""What Python sees of `dorrit.process.crash._crash`."""

from collections.abc import Iterable
from typing import Final, final

HANDLER: Final[int]
"""The address of the handler."""

REPLACE: Final[int]
"""The address of what `replace` calls, which takes nothing and is async-signal-safe."""

RECORD_BYTES: Final[int]
"""Size of what the handler writes: the signal's number, seconds and nanoseconds, 8 bytes each."""

def arm(
    *,
    program: bytes,
    arguments: Iterable[bytes],
    environment: Iterable[bytes],
    directory: bytes,
    umask: int,
    files: Iterable[bytes],
    inherited: Iterable[int],
    untouched: Iterable[int],
    ignored: Iterable[int],
    held: Iterable[int],
    ledger: tuple[int, int],
    record: int,
    report: int,
    prefix: bytes,
) -> None:
    """Make the plan that the handler follows in this process, in place of an earlier one.

    Everything is copied. Each plan takes some kilobytes that are not given back.

    Args:
        program: Absolute path of what is run.
        arguments: Its ``argv``.
        environment: ``NAME=VALUE``.
        directory: Where it is run.
        umask: The file mode creation mask that it is run with.
        files: What must be readable, or it isn't run; relative names are looked up in `directory`.
        inherited: Descriptors that the next image gets.
        untouched: Descriptors whose close-on-exec flag stays what it is; all others from 3 on are
            closed.
        ignored: Signals that may stay ignored; others that are get their default disposition.
        held: Signals that stay blocked, and so wait, until the next image unblocks them.
        ledger: Where connections are written down, an address and bytes, of which the next image
            gets the descriptors as well; zeros: nowhere. It stays mapped while this is armed.
        record: The descriptor of a regular file, one of `inherited`, for the handler's record.
        report: The descriptor that gets one line if there is no restart.
        prefix: What that line begins with.

    Raises:
        OSError: `record` is not open, or there is no memory. The earlier plan still holds.
    """

def disarm() -> None:
    """From now on a crash ends the process, as the signal's default action does."""

def guard(paths: Iterable[bytes], told: int) -> None:
    """Have a crash of this process end it, whatever is armed, and remove what it has made.

    Args:
        paths: Absolute; what stands there now is removed, if it is still the same then.
        told: A descriptor that then gets a byte; -1: none.

    Raises:
        OSError: There is no memory.
    """

def unguard() -> None:
    """From now on a crash does what is armed, or the signal's default action."""

def catch(number: int) -> None:
    """Install the handler for a signal.

    Raises:
        OSError: The signal can't be caught.
    """

def use_stack() -> None:
    """Give this thread an alternate signal stack that is large enough for nested handlers.

    Raises:
        OSError: There is no memory, or the thread is on its alternate stack just now.
    """

def give_stack() -> int:
    """Give this thread one that is its own, unless it has one.

    Returns:
        What `take_stack` takes; 0 if none was given.
    """

def take_stack(given: int) -> None:
    """Take back from this thread, which is about to end, what it was given; of 0 nothing."""

def note_signals() -> None:
    """Leave the signals that the plan holds to the next image from now on.

    Raises:
        OSError: One of them can't be caught.
    """

def replace() -> None:
    """Run the next image, as the plan says, without a crash; return if that is not possible.

    The reason is written where the plan says.
    """

def replace_at_exit() -> None:
    """Do so when the interpreter has ended; end the process with status 1 if it is not possible.

    Raises:
        OSError: Too many functions are called then.
    """

def close_on_exec(kept: Iterable[int]) -> None:
    """Have all descriptors above 2 be closed on exec, but for these."""

@final
class Disposition:
    """What happens on a signal: what sigaction(2) tells, to be put back as it was."""

    @property
    def handler(self) -> int:
        """The address of the handler; for the default and for none, the system's constants."""

    @property
    def is_default(self) -> bool:
        """Whether it is the default action."""

def disposition(number: int) -> Disposition:
    """Return what happens on a signal, whoever has decided it, C code included.

    Raises:
        OSError: There is no such signal.
    """

def set_disposition(number: int, wanted: Disposition) -> None:
    """Have it happen again.

    Raises:
        OSError: The signal can't be caught.
    """

def set_default(number: int) -> None:
    """Give a signal its default action.

    Raises:
        OSError: There is no such signal.
    """
