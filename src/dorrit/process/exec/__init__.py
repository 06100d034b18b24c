"""Another image in this process (execve(2)): how it is executed, and what it is left."""
