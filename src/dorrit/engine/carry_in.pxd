"""The connections that the process's last image has carried out, out of its ledger."""

from libc.stdint cimport uint16_t

from dorrit.engine.engine cimport Engine


# Takes them in: how many there are now, and how many were lost. The file is not changed. `places`: the
# descriptors that they have in this process, by which sockets they are; None: the same as before. `code`: what
# the one gets whose input was being handled when the process before ended.
cdef tuple carry_in(Engine engine, int file, dict places, uint16_t code)
