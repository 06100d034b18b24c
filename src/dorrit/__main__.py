"""``python -m dorrit`` is the command ``dorrit``."""

import sys

from dorrit.cli import main

sys.exit(main())
