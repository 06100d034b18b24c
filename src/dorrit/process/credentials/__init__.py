"""Who the process is, and what it may do: credentials(7), capabilities(7)."""
