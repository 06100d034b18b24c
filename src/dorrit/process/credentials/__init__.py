"""Who the process is, and what it may do: credentials(7) and capabilities(7).

`privileges` uses `capabilities`.
"""
