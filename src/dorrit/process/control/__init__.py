"""What a server is told while it runs, and what it tells: by signals, a socket, sd_notify(3)."""
