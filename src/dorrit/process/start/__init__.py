"""How the process was started, and what it takes for its server."""
