"""How the functions of a server are called: what stands between the engine and its user's code."""
