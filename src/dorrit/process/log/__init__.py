"""What becomes a record, what it looks like, and where it goes.

`log` uses `capture` and the ways out, `log_file` and `syslog`; these use `outlet`, and that
`layout`.
"""
