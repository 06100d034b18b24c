"""What the RFCs say, as bytes in and values out: no sockets, clocks, files, threads or logging."""
