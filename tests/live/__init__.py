"""Connections that outlive the process, under the traffic of clients that count everything."""
