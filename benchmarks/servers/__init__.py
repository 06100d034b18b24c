"""Server scripts and server files of the benchmark, one for each peer."""
