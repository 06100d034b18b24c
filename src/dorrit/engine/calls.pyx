# cython: language_level=3, freethreading_compatible=False
"""Calls: functions that are called in the loop's turns and have nothing to do with a connection."""

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.stdint cimport uint8_t
from posix.fcntl cimport F_GETFD, fcntl
from posix.unistd cimport close as close_descriptor, read as read_descriptor

from dorrit.engine.connection cimport Connection
from dorrit.engine.results cimport check_result

import signal
from collections import deque


cdef extern from "poller.h" nogil:
    int dorrit_poller_add(int poller, int descriptor)
    int dorrit_poller_remove(int poller, int descriptor)

cdef extern from "sockets.h" nogil:
    int dorrit_pipe(int *ends)


cdef class Calls(Timekeeper):
    """What other threads ask for, and what watches the caller's own descriptors."""

    def __cinit__(self, *args, **settings):
        self.woken_end = -1
        self.calls = deque()
        self.watched = {}

    def __dealloc__(self):
        for descriptor in (self.waker, self.woken_end):
            if descriptor >= 0:
                close_descriptor(descriptor)

    cdef int open_waker(self) except -1:
        """Makes what ends the loop's sleep."""
        cdef int ends[2]
        if dorrit_pipe(ends) < 0:
            PyErr_SetFromErrno(OSError)
        self.woken_end, self.waker = ends[0], ends[1]
        if dorrit_poller_add(self.poller, self.woken_end) < 0:
            PyErr_SetFromErrno(OSError)
        return 0

    def adopt(self, descriptor: int) -> Connection:
        """Takes a connected stream socket as a client that has not sent its request yet.

        Args:
            descriptor: Does not block. The engine owns it from here on and closes it.

        Raises:
            OSError: It is not open, or the engine has it already.
        """
        self.check_usable()
        if fcntl(descriptor, F_GETFD) < 0:
            PyErr_SetFromErrno(OSError)
        return self.take(descriptor)

    def watch(self, descriptor: int, function) -> None:
        """Calls `function()` in each turn in which a descriptor is readable, until `unwatch`. The
        caller keeps owning it, and does not close it before that. The function must not block.

        Raises:
            ValueError: It is watched already.
            OSError: The descriptor can't be watched.
        """
        self.check_usable()
        if descriptor in self.watched:
            raise ValueError(f"descriptor {descriptor} is watched already")
        if dorrit_poller_add(self.poller, descriptor) < 0:
            PyErr_SetFromErrno(OSError)
        self.take_over(descriptor)
        self.watched[descriptor] = function

    def unwatch(self, descriptor: int) -> None:
        """Leaves a descriptor alone from now on. Does nothing if it is not watched."""
        if self.watched.pop(descriptor, None) is not None:
            dorrit_poller_remove(self.poller, descriptor)

    def call_soon_threadsafe(self, function, *arguments) -> None:
        """Calls `function(*arguments)` in the loop's thread, soon. The one thing, with `stop`, that
        may be called from any thread.

        Raises:
            RuntimeError: The engine is closed.
        """
        self.check_usable()
        self.calls.append((function, arguments))
        self.wake()

    cdef int take_over(self, int descriptor) except -1:
        cdef int other
        Timekeeper.take_over(self, descriptor)
        if self.watched.pop(descriptor, None) is not None:
            self.reports.descriptor_lost(descriptor, "one that is watched")
        if descriptor == self.waker or descriptor == self.woken_end:
            self.replace_waker(descriptor)
            self.reports.descriptor_lost(descriptor, "the one that wakes the loop")
        return 0

    cdef int replace_waker(self, int lost) except -1:
        """One end of the pipe that wakes the loop is somebody else's: there is another one."""
        cdef int before = self.waker
        close_descriptor(self.woken_end if lost == self.waker else self.waker)
        self.waker = self.woken_end = -1
        self.woken = False
        self.open_waker()
        self.wake()     # whatever the one before had to say
        try:
            # Signals write a byte to it, which now would go to somebody else.
            of_signals = signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
            if of_signals != before:
                signal.set_wakeup_fd(of_signals)
        except ValueError:
            pass    # it is not the main thread's
        return 0

    def call_at_turn(self, function) -> None:
        """Calls `function()` once, at the beginning of the next turn in which there is something to do,
        instead of what was to be called before. May be called from any thread. It must not raise."""
        self.at_turn = function

    cdef int tell_turn(self) except -1:
        function, self.at_turn = self.at_turn, None
        function()
        return 0

    cdef int check_usable(self) except -1:
        if self.is_lost:
            raise RuntimeError(
                "this process was forked off the server's, whose connections it has not")
        if self.poller < 0:
            raise RuntimeError("the engine is closed")
        return 0

    cdef int call_watcher(self, int descriptor) except -1:
        function = self.watched.get(descriptor)
        if function is None:
            return 0
        try:
            function()
            self.check_process("watching", None)
        except BaseException as error:
            self.callback_raised("watching", error)
        return 0

    cdef int wake_up(self) except -1:
        cdef uint8_t thrown_away[512]
        self.woken = False
        while read_descriptor(self.woken_end, thrown_away, sizeof(thrown_away)) > 0:
            pass
        self.handle_signals()
        return self.make_calls()

    cdef int handle_signals(self) except -1:
        """Runs the handlers of signals that have come, which may be the user's."""
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            self.callback_raised("signal", error)
        return 0

    cdef int make_calls(self) except -1:
        """Makes the calls that there are; those that they ask for have their turn next time."""
        cdef Py_ssize_t count = len(self.calls)
        for _ in range(count):
            function, arguments = self.calls.popleft()
            try:
                result = function(*arguments)
                self.check_process("call_soon_threadsafe", None)
                if result is not None:
                    check_result("the function of call_soon_threadsafe", result)
            except BaseException as error:
                self.callback_raised("call_soon_threadsafe", error)
        return 0
