"""Signals that whoever runs the tests has had ignored."""

import signal


def catch() -> None:
    """Have servers that are started from now on begin with the usual handling of signals.

    A shell has what it starts with & ignore SIGINT and SIGQUIT, nohup(1) has it ignore SIGHUP, and
    so would the servers: what is ignored stays so across execve(2), what is caught doesn't.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
