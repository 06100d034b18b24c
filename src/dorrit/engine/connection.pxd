"""Connection: one client, from its request to its end.

Its fields; what leads from one state to the next is in `life.pyx`, and what users see of it in
`connection.pyx`, above all other modules.
"""

cimport cython

from dorrit.engine.assembly cimport Assembly
from dorrit.engine.c.connection cimport dorrit_connection
from dorrit.engine.engine cimport Engine


cdef enum:
    # Bytes that a user may keep for the next image.
    SAVED_MAX = 65536


@cython.final
cdef class Connection:
    cdef public object data         # the user's (R15)
    cdef object __weakref__
    cdef Engine engine
    cdef object kept_request        # a Request, while the user may ask for it
    cdef object deflate             # a `dorrit.protocol.deflate.Deflate`; None: not negotiated
    cdef Assembly assembly          # a message of which a part has come; None: there is none
    cdef str close_reason
    cdef bytes head                 # of its request, if it is kept for the process's next image; or None
    cdef bytes kept                 # what the user has given to `save`; None: nothing
    cdef object about               # for the log: its path, or (address, path); None: not known yet
    cdef dorrit_connection state    # all that is not a Python object
