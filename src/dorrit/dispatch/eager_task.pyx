# cython: language_level=3, freethreading_compatible=False
"""First steps: coroutines begin in the call that takes them, and need a task only if they wait.

Most `async` callbacks wait for nothing most of the time: they send, and are over. asyncio would make
a task for each of them, which takes five times as long as what it does. Here a task is ready, which
is the current one while a coroutine takes its first step. If that was all, and nobody has noticed
the task, the next coroutine has it; if the coroutine waits for something, the task goes on with it.

In its first step the task is not among `asyncio.all_tasks()`, and what is asked of it by way of its
class (``asyncio.Task.set_name(task, …)``) is not noticed. Otherwise it is a task like any other.

asyncio has `_enter_task` and its like for those who make tasks ("Extending asyncio").
"""

cimport cython
from cpython.object cimport PyObject

from dorrit.dispatch.coroutine cimport PYGEN_RETURN, PyIter_Send, PySendResult, release

import asyncio
import sys
from asyncio.tasks import _enter_task, _leave_task, _register_task, _unregister_task
from contextvars import copy_context
from weakref import getweakrefcount


cdef extern from "Python.h":
    dict attributes_of "PyObject_GenericGetDict"(object, void *)
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    Py_ssize_t reference_count "Py_REFCNT"(object)


class ReadyTask(asyncio.Task):
    """A task that waits for a coroutine which needs it.

    Attributes:
        is_touched: Somebody has asked something of it that the coroutine after this one must not
            inherit. (It is an attribute of the task only then, as others are that somebody sets.)
    """

    is_touched = False

    def add_done_callback(self, *arguments, **options):
        self.is_touched = True
        return super().add_done_callback(*arguments, **options)

    def cancel(self, *arguments, **options):
        self.is_touched = True
        return super().cancel(*arguments, **options)

    def set_name(self, *arguments, **options):
        self.is_touched = True
        return super().set_name(*arguments, **options)

    def get_coro(self):
        self.is_touched = True
        return super().get_coro()

    if sys.version_info >= (3, 12):

        def get_context(self):
            self.is_touched = True
            return super().get_context()


@cython.final
cdef class TaskBody:
    """What a `ReadyTask` runs: in the end nothing, or a coroutine that has taken its first step."""
    cdef object coroutine       # None: none is given to it yet, or it is over
    cdef object awaited         # what it has waited for after that step
    cdef bint is_begun          # and the task has not heard of that yet
    cdef object error           # what that step has raised
    cdef object cancellation    # that has reached the task in that step

    def send(self, value):
        if self.is_begun:
            self.is_begun = False
            awaited, self.awaited = self.awaited, None
            return awaited
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if self.coroutine is None:
            raise StopIteration
        return self.coroutine.send(value)

    def throw(self, *error):
        if self.is_begun:
            # It has cancelled itself in its first step. A task that takes this step itself cancels
            # then what it waits for: so this one has to wait first.
            self.cancellation = error[0]
            return self.send(None)
        if self.error is not None:
            return self.send(None)
        if self.coroutine is None:
            raise error[0]
        return self.coroutine.throw(*error)

    def close(self):
        if self.coroutine is not None:
            self.coroutine.close()

    def __await__(self):
        return self

    def __getattr__(self, name):
        # Whoever asks a task what it runs is told of the coroutine.
        return getattr(self.coroutine, name)

    @property
    def cr_suspended(self):
        # Those of Cython don't say it.
        return not self.coroutine.cr_running and self.coroutine.cr_frame is not None


@cython.final
cdef class EagerStarter:
    """Takes the first steps of coroutines in an event loop of asyncio's kind.

    Args:
        loop: The event loop, which runs. Attributes can be set in it.
        name: What the tasks are called.

    The coroutines have copies of the context in which this is made.
    """
    cdef object loop
    cdef object name
    cdef object origin          # the context that the tasks' are copies of
    cdef Py_ssize_t variables   # that have a value in it
    cdef object task            # the one that is ready
    cdef object step            # has it take a step
    cdef object context         # its own
    cdef TaskBody body
    cdef Py_ssize_t references  # to the task, while a coroutine takes its step
    cdef Py_ssize_t weak_references

    def __init__(self, loop, name):
        self.loop = loop
        self.name = name
        self.origin = copy_context()
        self.variables = len(self.origin)

    def __call__(self, coroutine):
        """Begin a coroutine. Within another task it becomes a task that begins later.

        Args:
            coroutine: Has not begun.

        Returns:
            The task that it goes on in, or that has what it has raised; None if it is over.

        Raises:
            SystemExit, KeyboardInterrupt: The coroutine has raised it; so does the event loop, when
                one does in a task.
        """
        cdef PyObject *result = NULL
        cdef PySendResult outcome
        cdef TaskBody body
        if self.task is None:
            self.make_ready()
        task = self.task
        try:
            _enter_task(self.loop, task)
        except RuntimeError:
            # A task can't step within another one.
            return asyncio.Task(coroutine, loop=self.loop, name=self.name)
        body = self.body
        body.coroutine = coroutine
        try:
            PyContext_Enter(self.context)
            try:
                outcome = PyIter_Send(coroutine, None, &result)
            finally:
                PyContext_Exit(self.context)
        except BaseException as error:
            # A task knows what to do with it: most it keeps, SystemExit it lets go on.
            _leave_task(self.loop, task)
            body.coroutine = None
            body.error = error
            self.take_step()
            return task
        _leave_task(self.loop, task)
        if outcome == PYGEN_RETURN:
            release(result)
            body.coroutine = None
            if self.is_noticed(task):
                # With no coroutine it ends: its callbacks run, who waits for it goes on.
                self.take_step()
            return None
        body.awaited = <object>result
        release(result)
        body.is_begun = True
        _register_task(task)
        task._log_destroy_pending = True
        self.take_step()
        if body.cancellation is not None and not task.done():
            task.cancel(*body.cancellation.args)
            # That was no other cancellation. (From Python 3.13 on, the last one to be taken back is
            # forgotten altogether.)
            if task.cancelling() > 1 or sys.version_info < (3, 13):
                task.uncancel()
            body.cancellation = None
        return task

    cdef int make_ready(self) except -1:
        # The first step of a task is to be taken by the event loop, soon. It is caught on its way: for
        # as long as the task is made, the loop has another `call_soon`. A finalizer that happens to
        # run meanwhile may use it as well; its calls go where they belong.
        cdef TaskBody body = TaskBody()
        attributes = self.loop.__dict__
        before = attributes.get("call_soon", body)
        loop_call_soon = self.loop.call_soon
        steps = []

        def call_soon(function, *arguments, context=None):
            task = getattr(function, "__self__", None)
            if isinstance(task, ReadyTask) and asyncio.Task.get_coro(task) is body:
                steps.append(function)
                return None
            return loop_call_soon(function, *arguments, context=context)

        context = self.origin.copy()
        attributes["call_soon"] = call_soon
        try:
            task = ReadyTask(body, loop=self.loop, name=self.name, context=context)
        finally:
            if before is body:
                del attributes["call_soon"]
            else:
                attributes["call_soon"] = before
        # Who cancels all tasks and waits for their ends would wait for this one for ever.
        _unregister_task(task)
        # It may be forgotten: there is nothing that it should have done.
        task._log_destroy_pending = False
        self.step = steps.pop()
        self.context = context
        self.body = body
        self.task = task
        self.references = reference_count(task)
        self.weak_references = getweakrefcount(task)
        return 0

    cdef bint is_noticed(self, task) except *:
        """Somebody keeps the task, or has left something in it or in its context."""
        if (
            reference_count(task) != self.references
            or getweakrefcount(task) != self.weak_references
            or attributes_of(task, NULL)
            or len(self.context) != self.variables
        ):
            return True
        if self.variables == 0:
            return False
        for variable, value in self.context.items():
            if self.origin.get(variable, self) is not value:
                return True
        return False

    cdef int take_step(self) except -1:
        step, context = self.step, self.context
        self.task = self.step = self.context = self.body = None
        context.run(step)
        return 0
