"""How the process ends though something of the server's own code does not."""
