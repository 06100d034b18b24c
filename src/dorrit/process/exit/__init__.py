"""The end of the process, though something of the server's own code does not end.

`leaving` (by the compiled `_deadline` at last), `forked` and `overdue` use `status`.
"""
