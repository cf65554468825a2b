"""How many numbers there are for a machine's workers; tables in shared memory have a
place for each.
"""

from typing import Final

__all__ = ["WORKER_NUMBERS"]

# WORKERS is 256 at most; twice as many and one more may live during a roll. If quick
# reloads change WORKERS, a start waits until another worker has ended.
WORKER_NUMBERS: Final = 520
