"""How the process was started, and what it takes for its server.

`launch` and `resources` use `activation`; `limits` stands alone.
"""
