"""Descriptors that somebody else in this process has closed, and whose numbers are given anew."""

from dorrit.engine.engine cimport Engine

# A descriptor has come into the poller, which had nothing of this number: whatever is known here by that
# number has been closed by somebody else, and must not be read, written or closed any more. To the kernel
# it is the new one.
cdef int take_over(Engine engine, int descriptor) except -1
