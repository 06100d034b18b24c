"""A fault of the process: it becomes a restart in place, or at the start a traceback.

`restart`, `starting` and `stacks` do not know each other; all use `_crash`, and that `crash.c`.
"""
