"""A server seen from another process: how a command finds it, asks it and stops it."""
