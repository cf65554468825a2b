"""``python -m aims_server`` is ``aims-server``."""

import sys

from .cli import main

sys.exit(main())
