"""The connections that the process's last image has carried out, out of its ledger."""

from dorrit.engine.engine cimport Engine


# Takes them in: how many there are now, and how many were lost. The file is not changed.
cdef tuple carry_in(Engine engine, int file)
