"""What a server is told while it runs, and what it tells: signals, a socket, sd_notify(3).

`status_socket` uses `status`; `signals` and `notify` stand alone.
"""
