"""A server seen from another process: how a command finds it, asks it and stops it.

It is believed nothing that the kernel does not show. `find` uses `status_client`; that uses `peer`
and `pidfd`; all of them use `proc`. `check_request` stands alone.
"""
