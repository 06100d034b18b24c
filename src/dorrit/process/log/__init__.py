"""What becomes a record, what it looks like, and where it goes."""
