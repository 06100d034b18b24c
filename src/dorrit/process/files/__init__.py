"""What a server has in the file system: names, locks, owners, and who removes them."""
