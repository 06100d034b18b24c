"""Another process with this one's memory (fork(2)): what it must not have, and the daemon.

`daemon` uses `children`, and that the compiled `_children`.
"""
