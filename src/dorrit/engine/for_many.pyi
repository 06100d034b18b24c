"""One message for many connections: framed once, and compressed once for each size of window."""
