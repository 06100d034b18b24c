"""Another image in this process (execve(2)): how it is executed, and what is left to it.

`command` uses `descriptors`; `handover` uses `backoff`; `memfd` is where what is left is kept.
"""
