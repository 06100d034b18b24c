"""What turns the engine, from a server's start to its end, and knows no function of it by name."""
