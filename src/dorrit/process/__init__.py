"""What a UNIX process is made of; each folder is one matter. Knows nothing of the engine's insides.

Above all others is `start`; then `running`, `log`, `crash` and `exit`, which do not know each
other; `control`; `files`; and below all `fork`, `exec` and `credentials`.
"""
