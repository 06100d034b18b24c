"""The connections of an engine into a ledger, from which the process's next image goes on with them."""

from dorrit.engine.engine cimport Engine


# Writes them into an empty file, and gives them up: whoever has a handle finds it closed, nobody hears of
# it, and the sockets stay open. Returns their descriptors. If it fails, nothing has changed.
cdef list carry_out(Engine engine, int file)
