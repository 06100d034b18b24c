# cython: language_level=3, freethreading_compatible=False
"""Workers: the `async` handlers of many connections, in order for each and concurrent across them.

A connection has a worker only while a handler of its own is running or waits to be run: one task
that handles its messages one after the other. An idle connection costs nothing here.
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

import asyncio
from collections import deque

from dorrit.dispatch.coroutine cimport (
    PYGEN_RETURN,
    PyCoro_CheckExact,
    PyIter_Send,
    PySendResult,
    release,
)
from dorrit.engine.budget cimport make_room
from dorrit.engine.confirm cimport catch_up, is_told
from dorrit.engine.connection cimport Connection
from dorrit.engine.held cimport count_waiting, is_over_budget, uncount_waiting
from dorrit.engine.record cimport begin_step, end_step, forget_end, record_change

from dorrit.dispatch.callables import is_async
from dorrit.dispatch.eager import eager_starter
from dorrit.engine.head import PENDING
from dorrit.engine.results import check_result
from dorrit.protocol.closing import CloseCode
from dorrit.raised import EXITS, is_exit

# What the tasks are called.
TASK_NAME = "dorrit"

cdef object GOING_AWAY = int(CloseCode.GOING_AWAY)
cdef object INTERNAL_ERROR = int(CloseCode.INTERNAL_ERROR)


cdef inline int check(conn) except -1:
    """Only what a server has made may have a worker."""
    if type(conn) is not Connection or (<Connection>conn).engine is None:
        raise TypeError(f"a connection is expected, not {conn!r}")
    return 0


def steps_of(conn, awaitable):
    """Return what is to be awaited instead, so that a crash in there is known to be a connection's.

    Args:
        conn: Whose it is.
        awaitable: What one of the user's functions has made, for that connection.
    """
    cdef Steps steps
    check(conn)
    if (<Connection>conn).engine.recording is None:
        return awaitable
    steps = Steps.__new__(Steps)
    steps.conn = conn
    steps.cr_await = awaitable if PyCoro_CheckExact(awaitable) else awaitable.__await__()
    return steps


@cython.final
@cython.freelist(64)
cdef class Steps:
    """Takes the steps of a coroutine in the name of a connection.

    Attributes:
        cr_await: The coroutine.
    """
    cdef Connection conn
    cdef readonly object cr_await

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef bint is_over = False
        given = self.step(None, &is_over)
        if not is_over:
            return given
        if given is None:
            raise StopIteration     # which makes no exception here, of which there is one for each message
        raise StopIteration(given)

    def send(self, value):
        cdef bint is_over = False
        given = self.step(value, &is_over)
        if is_over:
            raise StopIteration(given)
        return given

    cdef object step(self, value, bint *is_over):
        cdef PyObject *result = NULL
        cdef PySendResult outcome
        cdef uint32_t before
        check(self.conn)
        before = begin_step(self.conn)
        try:
            outcome = PyIter_Send(self.cr_await, value, &result)
        finally:
            end_step(self.conn, before)
        given = <object>result
        release(result)
        is_over[0] = outcome == PYGEN_RETURN
        return given

    def throw(self, *error):
        cdef uint32_t before
        check(self.conn)
        before = begin_step(self.conn)
        try:
            return self.cr_await.throw(*error)
        finally:
            end_step(self.conn, before)

    def close(self):
        cdef uint32_t before
        check(self.conn)
        before = begin_step(self.conn)
        try:
            self.cr_await.close()
        finally:
            end_step(self.conn, before)


@cython.final
cdef class Confirmation:
    """A subscription that stands, of which the handler is told in its turn among the messages."""
    cdef str topic
    cdef object recovered

    def __len__(self):
        return len(self.topic)


@cython.final
@cython.freelist(64)
cdef class Worker:
    """What waits for the handlers of one connection.

    Attributes:
        waiting: Messages that have come while a handler runs.
        size: Bytes and characters in them.
        paused: The engine does not read from the connection.
    """
    cdef object message             # or the Confirmation, whose handler runs or is to run next; or None
    cdef bint begun                 # that handler has been called
    cdef readonly object waiting    # deque of those that have come while a handler runs; or None
    cdef readonly Py_ssize_t size   # bytes and characters in them
    cdef readonly bint paused       # the engine does not read from the connection
    cdef tuple closing              # code and reason, once the connection is over
    cdef bint is_due                # the close handler is the next image's
    cdef object task                # runs the handlers; None before it has to wait for something

    cdef int wait(self, Connection conn, message) except -1:
        """Puts a message last, which counts among those that are under way."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(message)
        self.size += len(message)
        count_waiting(conn, <size_t>len(message))
        return 0

    cdef object next(self, Connection conn):
        """Takes the first message."""
        message = self.waiting.popleft()
        self.size -= len(message)
        uncount_waiting(conn, <size_t>len(message))
        return message

    cdef str callback(self):
        """What the log calls the handler that has the message."""
        return "subscribed" if type(self.message) is Confirmation else "message"

    cdef bint is_left(self) except -1:
        """Nothing runs for the connection: the next image of the process is to go on."""
        return not self.begun if self.task is None else self.task.done()

    cdef int forget(self, Connection conn) except -1:
        """Lets go of the messages."""
        while self.waiting:
            self.next(conn)
        self.waiting = None
        return 0


@cython.final
cdef class Workers:
    """Runs the message and close handlers of a server that has `async` ones.

    A message that comes while a handler runs for its connection waits. Where too many of them do,
    reading pauses, so that a client that is too fast feels it.

    Attributes:
        workers: Those that there are.
    """

    cdef object on_message
    cdef object on_close
    cdef object on_subscribed
    cdef bint on_close_is_async
    cdef Py_ssize_t max_waiting
    cdef Py_ssize_t max_waiting_bytes
    cdef dict by_connection         # the workers of those that have one: whatever else is here crashes
    cdef bint reads_on
    cdef bint suspended             # no handler is begun but for connections that are over
    cdef bint is_cut_off            # no handler is begun at all, and nobody hears how one ends
    cdef object is_by_server
    cdef object engine
    cdef object reports
    cdef object loop
    cdef object starter             # of coroutines; None before the first one

    def __init__(self, on_message, on_close, on_subscribed, max_waiting, max_waiting_bytes):
        self.on_message = on_message
        self.on_close = on_close
        self.on_subscribed = on_subscribed
        self.on_close_is_async = is_async(on_close)
        self.max_waiting = max_waiting
        self.max_waiting_bytes = max_waiting_bytes
        self.by_connection = {}
        self.reads_on = True

    @property
    def workers(self):
        """Those that there are, by their connections: a copy."""
        return dict(self.by_connection)

    def connect(self, engine, reports, is_by_server):
        """Take what they need; in the event loop.

        Args:
            engine: Pauses connections.
            reports: Takes what handlers raise.
            is_by_server: `is_by_server(error)`: the server has cancelled the current task.
        """
        self.engine = engine
        self.reports = reports
        self.is_by_server = is_by_server
        self.loop = asyncio.get_running_loop()

    def tasks(self):
        """Return the tasks that run."""
        cdef Worker worker
        tasks = []
        for worker in self.by_connection.values():
            if worker.task is not None and not worker.task.done():
                tasks.append(worker.task)
        return tasks

    def is_busy(self, conn):
        """Return whether a handler of this connection runs or waits to be run."""
        return conn in self.by_connection

    def stop_reading(self):
        """Let connections that are paused stay so: the server stops."""
        self.reads_on = False

    def suspend(self):
        """Begin no message handler any more: the next image of the process goes on with what waits.

        Only what belongs to a connection that is over still runs to its end.
        """
        self.suspended = True

    def cut_off(self):
        """Begin no handler any more, and log nothing of those that end: a crash is played."""
        self.suspended = self.is_cut_off = True

    def go_on(self):
        """Begin what has waited, and close who was cut off: the server is to stop after all."""
        cdef Worker worker
        self.suspended = False
        for conn, worker in list(self.by_connection.items()):
            if not worker.is_left():
                continue
            if worker.begun:
                self.fail(conn, worker, asyncio.CancelledError())
            self.begin_left(<Connection>conn, worker)

    def unhandled(self, conn):
        """Return the message whose handler runs, or None, and those that wait behind it.

        A handler that was cut off by the server counts as one that runs.
        """
        cdef Worker worker = <Worker>self.by_connection.get(conn)
        if worker is None:
            return None, []
        # Who has closed its connection wants to hear nothing more of it.
        closed = (<Connection>conn).state.closed_here
        # A subscription that the user has not been told of stands in the ledger as one that waits.
        waiting = [] if closed or worker.waiting is None else [
            message for message in worker.waiting if type(message) is not Confirmation]
        if worker.message is None or type(worker.message) is Confirmation:
            return None, waiting
        if worker.begun:
            return worker.message, waiting
        return None, [worker.message, *waiting]

    def due(self):
        """Return the connections that are over and whose close handler has not begun.

        It never does then: the next image of the process calls it.
        """
        cdef Worker worker
        due = []
        for conn, worker in self.by_connection.items():
            if worker.closing is not None and worker.message is not None:
                worker.is_due = True
                due.append(conn)
        return due

    def forget(self, conn):
        """Let go of messages that wait, for there is no room for them.

        Args:
            conn: Whose; None for those of all connections that are over.
        """
        cdef Worker worker
        if conn is not None:
            worker = <Worker>self.by_connection.get(conn)
            if worker is not None:
                worker.forget(<Connection>conn)
            return
        for conn, worker in self.by_connection.items():
            if worker.closing is not None:
                worker.forget(<Connection>conn)

    cdef int end(self, Connection conn, Worker worker) except -1:
        """All handlers of a connection have run, or will never."""
        del self.by_connection[conn]
        worker.forget(conn)
        if conn.state.has_record_of_input:
            record_change(conn)
        conn.state.room = <uint32_t>self.max_waiting + 1
        if worker.closing is not None:
            conn.engine.departed -= 1
        return 0

    def messages(self, conn, first, list others not None):
        """Have the `async` message handler called for each, after those that are under way.

        Args:
            conn: Whose they are.
            first: The first message that one read has brought.
            others: Those behind it, no more than may wait.
        """
        cdef Worker worker = <Worker>self.by_connection.get(conn)
        cdef bint is_new = worker is None
        check(conn)
        if is_new:
            worker = self.by_connection[conn] = Worker()
        if is_new and not self.suspended:
            worker.message = first
        else:
            worker.wait(<Connection>conn, first)
        for message in others:
            worker.wait(<Connection>conn, message)
        self.limit(<Connection>conn, worker)
        if is_new and not self.suspended:
            self.begin(<Connection>conn, worker, self._run(conn, worker))
        if conn in self.by_connection:
            record_change(<Connection>conn)     # these messages wait, or the first one has begun

    def subscribed(self, conn, topic, recovered):
        """Have the `async` handler of subscriptions called, after the messages that are under way.

        Args:
            conn: Whose subscription it is.
            topic: To what.
            recovered: What it is told.
        """
        cdef Confirmation confirmation = Confirmation.__new__(Confirmation)
        confirmation.topic = topic
        confirmation.recovered = recovered
        self.messages(conn, confirmation, [])
        return PENDING

    async def _confirm(self, Connection conn not None, Worker worker not None):
        """Calls the handler of subscriptions, unless nobody wants to hear of this one any more."""
        cdef Confirmation confirmation = <Confirmation>worker.message
        if self.is_current(conn, worker, confirmation):
            await steps_of(conn, self.on_subscribed(conn, confirmation.topic, confirmation.recovered))
            if self.is_current(conn, worker, confirmation):
                catch_up(conn, confirmation.topic)

    cdef bint is_current(self, Connection conn, Worker worker, Confirmation confirmation) except -1:
        """Whether a subscription still stands. If it was left and made again meanwhile, that is another one,
        of which the handler is told later."""
        if not is_told(conn, confirmation.topic):
            return False
        for message in worker.waiting or ():
            if type(message) is Confirmation and (<Confirmation>message).topic == confirmation.topic:
                return False
        return True

    cdef int limit(self, Connection conn, Worker worker) except -1:
        """Has no more read than may wait: of one connection, and of all of them together."""
        self.give_room(conn, worker)
        if is_over_budget(conn.engine):
            make_room(conn.engine)
        # What waited may have been let go for want of room.
        if worker.waiting is not None and (
                len(worker.waiting) >= self.max_waiting or worker.size >= self.max_waiting_bytes):
            worker.paused = True
            self.engine.pause(conn)
        return 0

    cdef int give_room(self, Connection conn, Worker worker) except -1:
        """Tells the engine how many messages it may hand over together."""
        cdef Py_ssize_t waiting = 0 if worker.waiting is None else len(worker.waiting)
        conn.state.room = <uint32_t>max(1, self.max_waiting - waiting)
        return 0

    cdef int begin(self, Connection conn, Worker worker, coroutine) except -1:
        """Begins with the first message of a connection that had no worker."""
        try:
            worker.task = self.start(coroutine)
        except EXITS:
            raise
        except BaseException as error:  # somebody's task factory
            coroutine.close()
            self.fail(conn, worker, error)
            if conn in self.by_connection:
                self.end(conn, worker)
        return 0

    cdef object start(self, coroutine):
        """Begins a coroutine in the turn that has its message: what it sends before it waits for
        anything is written in that turn, too."""
        if self.starter is None:
            # The start handler has run by now: it may have set a task factory.
            self.starter = eager_starter(self.loop, TASK_NAME)
        return self.starter(coroutine)

    def closed(self, conn, code, reason):
        """Have the close handler called, after those of the messages before."""
        cdef Worker worker = <Worker>self.by_connection.get(conn)
        check(conn)
        if worker is not None:
            worker.closing = (code, reason)
            (<Connection>conn).engine.departed += 1
            if worker.is_left():
                self.begin_left(<Connection>conn, worker)
        elif self.on_close is None:
            forget_end(<Connection>conn)
        elif self.on_close_is_async:
            worker = self.by_connection[conn] = Worker()
            worker.closing = (code, reason)
            (<Connection>conn).engine.departed += 1
            coroutine = self._run_close(conn, worker)
            try:
                worker.task = self.start(coroutine)
            except EXITS:
                raise
            except BaseException:       # somebody's task factory
                coroutine.close()
                if conn in self.by_connection:
                    self.end(<Connection>conn, worker)
                raise
        else:
            forget_end(<Connection>conn)
            return self.on_close(conn, code, reason)   # whose result the engine looks at

    cdef int begin_left(self, Connection conn, Worker worker) except -1:
        """Begins what was left to the next image, which does not get the connection after all."""
        worker.task = None
        if worker.begun:
            # A handler was cut off, and nobody takes its message from there.
            worker.message = None
            worker.begun = False
            worker.forget(conn)
        elif worker.message is None and worker.waiting:
            worker.message = worker.next(conn)
        if worker.message is not None:
            return self.begin(conn, worker, self._run(conn, worker))
        if worker.closing is None:
            return self.end(conn, worker)
        return self.begin(conn, worker, self._run_close(conn, worker))

    async def _run(self, Connection conn not None, Worker worker not None):
        """Calls the message handler, for one message and those that wait by then."""
        callback = "message"
        try:
            while True:
                if self.suspended and (worker.closing is None or self.is_cut_off):
                    return      # the next image goes on, with this message
                worker.begun = True
                if worker.task is not None:     # otherwise `messages` does it
                    record_change(<Connection>conn)
                try:
                    if type(worker.message) is Confirmation:
                        callback = "subscribed"
                        await self._confirm(conn, worker)
                    else:
                        callback = "message"
                        await steps_of(conn, self.on_message(conn, worker.message))
                except EXITS:
                    raise
                except BaseException as error:      # the user's
                    if self.is_abandoned(worker):
                        raise
                    self.engine.check_process(callback, error)
                    if self.is_cut_off:
                        return
                    if self.suspended and worker.closing is None and self.is_by_server(error):
                        return  # it is cut off, and the next image knows with which message
                    self.fail(conn, worker, error)
                worker.message = None
                worker.begun = False
                # A handler that closes its connection wants to hear nothing more of it; a process that
                # one has forked has none.
                if not worker.waiting or conn.state.closed_here or conn.engine.forked:
                    break
                worker.message = worker.next(<Connection>conn)
                self.give_room(conn, worker)
                if (
                    worker.paused
                    and self.reads_on
                    and len(worker.waiting) <= self.max_waiting // 2
                    and worker.size <= self.max_waiting_bytes // 2
                ):
                    worker.paused = False
                    self.engine.resume(conn)
        except BaseException as error:
            # SystemExit ends the server, in order: the close handler will be wanted.
            self.end(<Connection>conn, worker)
            if self.is_abandoned(worker):
                raise
            self.retrieve_exception()
            self.engine.check_process(callback, error)
            if worker.closing is not None:
                self.closed(conn, *worker.closing)
            elif is_exit(error):
                # The event loop may have turns before the server ends: nothing of this client is
                # handled in them, as after a plain handler that exits.
                conn.close(GOING_AWAY)
            raise
        if worker.task is not None:
            # It has waited, so that it ends outside of the engine's turn, which looks after itself.
            self.engine.check_process(callback, None)
        if worker.closing is None or worker.is_due or self.is_cut_off:
            self.end(<Connection>conn, worker)
        else:
            await self._run_close(conn, worker)

    async def _run_close(self, Connection conn not None, Worker worker not None):
        """Ends the worker of a connection that is over, with the close handler."""
        forget_end(<Connection>conn)
        try:
            if self.on_close is not None:
                result = self.on_close(conn, *worker.closing)
                if self.on_close_is_async:
                    await result
                else:
                    check_result("on_close", result)
            if worker.task is not None:
                self.engine.check_process("close", None)
        except EXITS as error:
            self.retrieve_exception()
            self.engine.check_process("close", error)
            raise
        except BaseException as error:      # the user's
            if self.is_abandoned(worker):
                raise
            self.engine.check_process("close", error)
            if self.is_cut_off:
                return
            self.uncancel(error)
            self.reports.callback_raised("close", error, conn)
        finally:
            self.end(<Connection>conn, worker)

    cdef int fail(self, conn, Worker worker, error) except -1:
        """Ends a connection one of whose handlers has raised, or was cancelled: 1011."""
        self.uncancel(error)
        worker.forget(<Connection>conn)
        self.engine.fail(conn, INTERNAL_ERROR, "")
        self.reports.callback_raised(worker.callback(), error, conn)
        return 0

    cdef bint is_abandoned(self, Worker worker) except -1:
        """Whether nobody runs the worker any more: what has been raised in it is the GeneratorExit of
        the interpreter, which closes coroutines that are left."""
        return self.loop.is_closed() or (
            worker.task is not None and asyncio.current_task(self.loop) is not worker.task)

    cdef int uncancel(self, error) except -1:
        """Lets the task that was cancelled go on: what it has to do still, it does."""
        task = asyncio.current_task(self.loop)
        if task is not None and issubclass(type(error), asyncio.CancelledError):
            while task.cancelling() > 0:
                task.uncancel()
        return 0

    cdef int retrieve_exception(self) except -1:
        """Has asyncio not complain of what ends the event loop: whoever runs that gets it, too."""
        task = asyncio.current_task(self.loop)
        if task is not None:    # it is closed outside of one
            task.add_done_callback(asyncio.Task.exception)
        return 0
