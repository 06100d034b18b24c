# cython: language_level=3, freethreading_compatible=False
"""Lanes: the `async` callbacks of many connections, in order for each and concurrent across them.

A connection has a lane only while a callback of its own is running or waits to be run: one task
that handles its messages one after the other. An idle connection costs nothing here.
"""

cimport cython

import asyncio
from collections import deque

from dorrit.engine.budget cimport make_room
from dorrit.engine.connection cimport Connection
from dorrit.engine.held cimport count_waiting, is_over_budget, uncount_waiting

from dorrit.api.application import is_async
from dorrit.api.eager import beginner
from dorrit.engine import was_closed_here
from dorrit.engine.results import check_result
from dorrit.protocol.closing import CloseCode
from dorrit.raised import EXITS

# What the tasks are called.
TASK_NAME = "dorrit"

cdef object INTERNAL_ERROR = int(CloseCode.INTERNAL_ERROR)


cdef inline int check(conn) except -1:
    """Only what a server has made may have a lane."""
    if type(conn) is not Connection or (<Connection>conn).engine is None:
        raise TypeError(f"a connection is expected, not {conn!r}")
    return 0


@cython.final
@cython.freelist(64)
cdef class Lane:
    """What waits for the callbacks of one connection."""
    cdef readonly object waiting    # deque of messages that have come while a callback runs; or None
    cdef readonly Py_ssize_t size   # bytes and characters in them
    cdef readonly bint paused       # the engine does not read from the connection
    cdef tuple closing              # code and reason, once the connection is over
    cdef object task                # runs the callbacks; None before it has to wait for something

    cdef int wait(self, Connection conn, message) except -1:
        """Puts a message last, which counts among those that are under way."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(message)
        self.size += len(message)
        count_waiting(conn, <size_t>len(message))
        if is_over_budget(conn.engine):
            make_room(conn.engine)
        return 0

    cdef object next(self, Connection conn):
        """Takes the first message."""
        message = self.waiting.popleft()
        self.size -= len(message)
        uncount_waiting(conn, <size_t>len(message))
        return message

    cdef int forget(self, Connection conn) except -1:
        """Lets go of the messages."""
        while self.waiting:
            self.next(conn)
        self.waiting = None
        return 0


@cython.final
cdef class Lanes:
    """Runs the message and close callbacks of a server that has `async` ones.

    A message that comes while a callback runs for its connection waits. Where too many of them do,
    reading pauses, so that a client that is too fast feels it.

    Args:
        on_message: The message callback. `connect` comes before the first of its calls.
        on_close: The close callback, which may be plain.
        max_waiting: Messages that may wait for one connection.
        max_waiting_bytes: Bytes of messages, from which on no more of them are read.
    """

    cdef object on_message
    cdef object on_close
    cdef bint on_close_is_async
    cdef Py_ssize_t max_waiting
    cdef Py_ssize_t max_waiting_bytes
    cdef dict by_connection         # the lanes of those that have one: whatever else is here crashes
    cdef bint reads_on
    cdef object fresh               # the connection that has been read, whose callback is to begin
    cdef object fresh_message
    cdef Lane fresh_lane
    cdef object engine
    cdef object reports
    cdef object loop
    cdef object beginner            # of coroutines; None before the first one

    def __init__(self, on_message, on_close, max_waiting, max_waiting_bytes):
        self.on_message = on_message
        self.on_close = on_close
        self.on_close_is_async = is_async(on_close)
        self.max_waiting = max_waiting
        self.max_waiting_bytes = max_waiting_bytes
        self.by_connection = {}
        self.reads_on = True

    @property
    def lanes(self):
        """Those that there are, by their connections: a copy."""
        return dict(self.by_connection)

    def connect(self, engine, reports):
        """Takes what is to be paused, and what takes what callbacks raise; in the event loop."""
        self.engine = engine
        self.reports = reports
        self.loop = asyncio.get_running_loop()

    def tasks(self):
        """The tasks that run."""
        cdef Lane lane
        self.begin()
        tasks = []
        for lane in self.by_connection.values():
            if lane.task is not None and not lane.task.done():
                tasks.append(lane.task)
        return tasks

    def is_busy(self, conn):
        """Whether a callback of this connection runs or waits to be run."""
        return conn in self.by_connection

    def stop_reading(self):
        """Lets connections that are paused stay so: the server stops."""
        self.reads_on = False

    def forget(self, conn):
        """Lets go of the messages that wait for callbacks of this connection; `None`: of all that are
        over. There is no room for them."""
        cdef Lane lane
        if conn is not None:
            lane = <Lane>self.by_connection.get(conn)
            if lane is not None:
                lane.forget(<Connection>conn)
            return
        for conn, lane in self.by_connection.items():
            if lane.closing is not None:
                lane.forget(<Connection>conn)

    cdef int leave(self, Connection conn, Lane lane) except -1:
        """All callbacks of a connection have run, or will never."""
        del self.by_connection[conn]
        lane.forget(conn)
        if lane.closing is not None:
            conn.engine.departed -= 1
        return 0

    def take_message(self, conn, message):
        """Has the `async` message callback called, after those that are under way."""
        cdef Lane lane = <Lane>self.by_connection.get(conn)
        if lane is None:
            check(conn)
            # It begins when all that was read with this message is there: one task for all of it.
            self.by_connection[conn] = self.fresh_lane = Lane()
            self.fresh = conn
            self.fresh_message = message
            return
        lane.wait(<Connection>conn, message)
        # It may have been too much for all of them together.
        if lane.waiting is not None and (
                len(lane.waiting) >= self.max_waiting or lane.size >= self.max_waiting_bytes):
            lane.paused = True
            self.engine.pause(conn)

    def begin(self):
        """Begins with the messages of the connection that has been read last.

        The engine calls this when it has read from it, before it writes.
        """
        cdef Lane lane = self.fresh_lane
        if lane is None:
            return
        conn, message = self.fresh, self.fresh_message
        self.fresh = self.fresh_message = self.fresh_lane = None
        coroutine = self._run(conn, lane, message)
        message = None      # the callback's alone: it may be large
        try:
            lane.task = self.start(coroutine)
        except EXITS:
            raise
        except BaseException as error:  # somebody's task factory
            coroutine.close()
            self.fail(conn, lane, error)
            if conn in self.by_connection:
                self.leave(<Connection>conn, lane)

    cdef object start(self, coroutine):
        """Begins a coroutine in the turn that has its message: what it sends before it waits for
        anything is written in that turn, too."""
        if self.beginner is None:
            # The start callback has run by now: it may have set a task factory.
            self.beginner = beginner(self.loop, TASK_NAME)
        return self.beginner(coroutine)

    def take_close(self, conn, code, reason):
        """Has the close callback called, after those of the messages before."""
        cdef Lane lane = <Lane>self.by_connection.get(conn)
        check(conn)
        if lane is not None:
            lane.closing = (code, reason)
            (<Connection>conn).engine.departed += 1
        elif self.on_close is None:
            pass
        elif self.on_close_is_async:
            lane = self.by_connection[conn] = Lane()
            lane.closing = (code, reason)
            (<Connection>conn).engine.departed += 1
            coroutine = self._run_close(conn, lane)
            try:
                lane.task = self.start(coroutine)
            except EXITS:
                raise
            except BaseException:       # somebody's task factory
                coroutine.close()
                if conn in self.by_connection:
                    self.leave(<Connection>conn, lane)
                raise
        else:
            return self.on_close(conn, code, reason)   # whose result the engine looks at

    async def _run(self, Connection conn not None, Lane lane not None, message):
        """Calls the message callback, for one message and those that wait by then."""
        try:
            while True:
                try:
                    await self.on_message(conn, message)
                except EXITS:
                    raise
                except BaseException as error:      # the user's
                    if self.is_left(lane):
                        raise
                    self.engine.check_process("message", error)
                    self.fail(conn, lane, error)
                # A callback that closes its connection wants to hear nothing more of it.
                if not lane.waiting or was_closed_here(conn):
                    break
                message = lane.next(<Connection>conn)
                if (
                    lane.paused
                    and self.reads_on
                    and len(lane.waiting) <= self.max_waiting // 2
                    and lane.size <= self.max_waiting_bytes // 2
                ):
                    lane.paused = False
                    self.engine.resume(conn)
        except BaseException as error:
            # SystemExit ends the server, in order: the close callback will be wanted.
            self.leave(<Connection>conn, lane)
            if self.is_left(lane):
                raise
            self.notice()
            self.engine.check_process("message", error)
            if lane.closing is not None:
                self.take_close(conn, *lane.closing)
            raise
        if lane.task is not None:
            # It has waited, so that it ends outside of the engine's turn, which looks after itself.
            self.engine.check_process("message", None)
        if lane.closing is None:
            self.leave(<Connection>conn, lane)
        else:
            await self._run_close(conn, lane)

    async def _run_close(self, Connection conn not None, Lane lane not None):
        """Ends the lane of a connection that is over, with the close callback."""
        try:
            if self.on_close is not None:
                result = self.on_close(conn, *lane.closing)
                if self.on_close_is_async:
                    await result
                else:
                    check_result("on_close", result)
            if lane.task is not None:
                self.engine.check_process("close", None)
        except EXITS as error:
            self.notice()
            self.engine.check_process("close", error)
            raise
        except BaseException as error:      # the user's
            if self.is_left(lane):
                raise
            self.engine.check_process("close", error)
            self.uncancel(error)
            self.reports.callback_raised("close", error, conn)
        finally:
            self.leave(<Connection>conn, lane)

    cdef int fail(self, conn, Lane lane, error) except -1:
        """Ends a connection whose message callback has raised, or was cancelled: 1011."""
        self.uncancel(error)
        lane.forget(<Connection>conn)
        self.engine.fail(conn, INTERNAL_ERROR, "")
        self.reports.callback_raised("message", error, conn)
        return 0

    cdef bint is_left(self, Lane lane) except -1:
        """Whether nobody runs the lane any more: what has been raised in it is the GeneratorExit of
        the interpreter, which closes coroutines that are left."""
        return self.loop.is_closed() or (
            lane.task is not None and asyncio.current_task(self.loop) is not lane.task)

    cdef int uncancel(self, error) except -1:
        """Lets the task that was cancelled go on: what it has to do still, it does."""
        task = asyncio.current_task(self.loop)
        if task is not None and issubclass(type(error), asyncio.CancelledError):
            while task.cancelling() > 0:
                task.uncancel()
        return 0

    cdef int notice(self) except -1:
        """Has asyncio not complain of what ends the event loop: whoever runs that gets it, too."""
        task = asyncio.current_task(self.loop)
        if task is not None:    # it is closed outside of one
            task.add_done_callback(asyncio.Task.exception)
        return 0
