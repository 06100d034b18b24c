"""In the path of a server whose system has no files in memory: macOS, or an old kernel."""

import os

del os.memfd_create
del os.MFD_ALLOW_SEALING
