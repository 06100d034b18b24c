"""What a server has in the file system: whose it is, who may take its place, who removes it.

`listener`, `pidfile` and `command_file` use `binding`, `lock`, `ownership` and `directories`, and
`paths`; `janitor` runs `janitor_program`.
"""
