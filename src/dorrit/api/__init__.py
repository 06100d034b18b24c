"""What a server is written with."""
