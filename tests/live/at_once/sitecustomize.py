"""In the path of a server that is to serve again at once, however often it has crashed."""

import dorrit.process.exec.backoff

dorrit.process.exec.backoff.FIRST = 0.0  # type: ignore[misc]
